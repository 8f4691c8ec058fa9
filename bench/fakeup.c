/* fakeup - a fake OpenAI-style upstream, cheap enough not to be the bottleneck.
 *
 *   POST /v1/chat/completions   "stream": true: SSE in HTTP chunks, then a stop chunk, a usage chunk
 *                               and [DONE]; otherwise one small JSON completion
 *   GET  /v1/models             one model
 *   GET  /stats                 counters, and the streams that a client closed early, with the time
 *
 * One thread, one epoll loop, one send per chunk from a buffer built beforehand.  What a stream does is
 * said by a word in the request, in the model's name or (stronger) in a message:
 *
 *   fake-r50-c400-s250-t20-f100    50 chunks/s, 400 chunks of 250 bytes, the first after 20 ms, the
 *                                  connection dropped after 100 chunks; -g3 leaves chunk 3 out
 *
 * r0 means as fast as the socket takes them.  Flags: --port P, --exact (wake for each chunk's own time
 * instead of once a millisecond).  Prints "ready PORT" when it listens.
 */
#include "common.h"

enum { CONNECTIONS_MAX = 65536, REQUEST_BYTES_MAX = 64 << 20, CLOSED_KEPT = 65536, BURST = 64, TEMPLATES_MAX = 64 };

typedef struct { uint64_t rate, chunks, size, ttft_ms, drop_after, gap_at; } plan;
typedef struct { int fd; uint32_t generation; bool streaming, blocked; bytes in, out;
                 plan plan; uint64_t number, next, due_ns, started_ns; } connection;
typedef struct { uint64_t size; char *data; size_t length, marker; } chunk_template;
typedef struct { uint64_t number, at_ns; } early_close;

static const plan DEFAULT_PLAN = {.rate = 50, .chunks = 500, .size = 250, .drop_after = UINT64_MAX, .gap_at = UINT64_MAX};
static connection *connections[CONNECTIONS_MAX];
static timer_heap timers;
static int epoll;
static early_close closed_early[CLOSED_KEPT];
static struct { uint64_t chunks, streams, open, open_max, finished, early, stalls, late_max_ns; } stats;

/* ---- the plan of a stream --------------------------------------------------------------------- */
static void plan_read(plan *p, const char *word) {
    while (*word == '-' && word[1] >= 'a' && word[1] <= 'z') {
        char *end;
        char key = word[1];
        uint64_t value = strtoull(word + 2, &end, 10);
        if (end == word + 2) return;
        if (key == 'r') p->rate = value;
        if (key == 'c') p->chunks = value;
        if (key == 's') p->size = value;
        if (key == 't') p->ttft_ms = value;
        if (key == 'f') p->drop_after = value;
        if (key == 'g') p->gap_at = value;
        word = end;
    }
}

/* Of the words `fake-...` in the body the last one in a message wins, else the model's name. */
static plan plan_of(const char *body) {
    plan p = DEFAULT_PLAN;
    const char *model = strstr(body, "\"model\""), *name = model ? strstr(model, "fake-") : NULL;
    const char *model_end = model ? strchr(model + 7, '"') : NULL;
    if (name && model_end && name == model_end + 1) plan_read(&p, name + 4);
    else name = NULL;
    const char *last = NULL;
    for (const char *at = strstr(body, "fake-"); at; at = strstr(at + 5, "fake-"))
        if (at != name) last = at;
    if (last) plan_read(&p, last + 4);
    return p;
}

/* ---- prebuilt chunks --------------------------------------------------------------------------- */
#define CHUNK_HEAD "data: {\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"fake\","
static const char WORDS[] = "so the quick answer goes on and on, one plain word after another, until it is long enough ";

static void template_build(chunk_template *t, uint64_t size) {
    bytes body = {0};
    bytes_printf(&body, CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
    size_t marker = body.length;
    static const char tail[] = "\"},\"finish_reason\":null}]}\n\n";
    bytes_printf(&body, "~t%019d.%06d.%06d~ ", 0, 0, 0);
    for (size_t i = 0; body.length + sizeof tail - 1 < size; i++) bytes_add(&body, &WORDS[i % (sizeof WORDS - 1)], 1);
    bytes_add(&body, tail, sizeof tail - 1);
    bytes frame = {0};
    bytes_printf(&frame, "%zx\r\n", body.length);
    *t = (chunk_template){.size = size, .marker = frame.length + marker};
    bytes_add(&frame, body.data, body.length);
    bytes_add(&frame, "\r\n", 2);
    t->data = frame.data;
    t->length = frame.length;
    bytes_free(&body);
}

static chunk_template *template_for(uint64_t size) {
    static chunk_template templates[TEMPLATES_MAX];
    static int count;
    for (int i = 0; i < count; i++)
        if (templates[i].size == size) return &templates[i];
    if (count == TEMPLATES_MAX) return &templates[0];
    template_build(&templates[count], size);
    return &templates[count++];
}

static void chunk_of(bytes *out, const char *event) {
    bytes_printf(out, "%zx\r\n%s\r\n", strlen(event), event);
}

/* ---- connections --------------------------------------------------------------------------------- */
static void connection_close(connection *c, bool by_client) {
    if (c->streaming) {
        stats.open--;
        if (by_client) closed_early[stats.early++ % CLOSED_KEPT] = (early_close){c->number, wall_ns()};
    }
    close(c->fd);
    connections[c->fd] = NULL;
    bytes_free(&c->in);
    bytes_free(&c->out);
    free(c);
}

static void connection_watch(connection *c) {
    bool blocked = c->out.length > 0;
    if (blocked == c->blocked) return;
    c->blocked = blocked;
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLRDHUP | (blocked ? (uint32_t)EPOLLOUT : 0), (uint32_t)c->fd);
}

/* Send or keep for later.  False: the connection is gone. */
static bool connection_send(connection *c, const char *data, size_t length) {
    if (!c->out.length) {
        ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return connection_close(c, true), false;
        if (sent == (ssize_t)length) return true;
        if (sent > 0) { data += sent; length -= (size_t)sent; }
        stats.stalls++;
    }
    bytes_add(&c->out, data, length);
    connection_watch(c);
    return true;
}

static void schedule(connection *c, uint64_t due_ns) {
    c->due_ns = due_ns;
    timer_push(&timers, (timer_item){due_ns, (uint32_t)c->fd, c->generation});
}

/* ---- streaming -------------------------------------------------------------------------------------- */
static void stream_begin(connection *c, const char *body) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    static uint32_t generation;
    c->plan = plan_of(body);
    c->number = stats.streams++;
    c->next = 0;
    c->streaming = true;
    c->generation = ++generation;
    if (++stats.open > stats.open_max) stats.open_max = stats.open;
    if (connection_send(c, head, sizeof head - 1)) schedule(c, mono_ns() + c->plan.ttft_ms * 1000000);
}

static void stream_end(connection *c) {
    bytes out = {0};
    char usage[512];
    chunk_of(&out, CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    snprintf(usage, sizeof usage, CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%llu,\"total_tokens\":%llu}}\n\n",
             (unsigned long long)c->plan.chunks, (unsigned long long)c->plan.chunks + 1);
    chunk_of(&out, usage);
    chunk_of(&out, "data: [DONE]\n\n");
    bytes_add(&out, "0\r\n\r\n", 5);
    c->streaming = false;
    stats.open--;
    stats.finished++;
    connection_send(c, out.data, out.length);
    bytes_free(&out);
}

/* Write the next chunk.  False: the stream is over or the connection gone. */
static bool stream_chunk(connection *c) {
    if (c->next == c->plan.chunks) return stream_end(c), false;
    if (c->next == c->plan.drop_after) {
        c->streaming = false;
        stats.open--;
        return connection_close(c, false), false;
    }
    uint64_t number = c->next++;
    if (number == c->plan.gap_at) return true;
    chunk_template *t = template_for(c->plan.size);
    put_digits(t->data + t->marker + 2, 19, wall_ns());
    put_digits(t->data + t->marker + 22, 6, c->number);
    put_digits(t->data + t->marker + 29, 6, number);
    stats.chunks++;
    return connection_send(c, t->data, t->length);
}

/* The first chunk comes at once, the second after a part of the period that differs from stream to stream:
 * streams begun at even distances would otherwise tick together. */
static uint64_t phase(uint64_t number, uint64_t period) {
    uint64_t mixed = (number + 1) * 0x9E3779B97F4A7C15ull;
    return period / 1000 * (1 + (mixed >> 32) % 1000);
}

/* The client reads too slowly: the stream waits for EPOLLOUT and goes on from there, without a race to catch up. */
static void stream_tick(connection *c, uint64_t now) {
    if (c->blocked) return;
    if (!c->plan.rate) {
        for (int i = 0; i < BURST; i++)
            if (!stream_chunk(c)) return;
            else if (c->blocked) return;
        schedule(c, now);
        return;
    }
    if (now - c->due_ns > stats.late_max_ns) stats.late_max_ns = now - c->due_ns;
    uint64_t period = 1000000000ull / c->plan.rate;
    uint64_t due = c->due_ns + (c->next ? period : phase(c->number, period));
    if (stream_chunk(c)) schedule(c, due + 1000000000ull < now ? now : due);
}

static void stream_unblocked(connection *c) {
    ssize_t sent = send(c->fd, c->out.data, c->out.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { connection_close(c, true); return; }
    if (sent > 0) bytes_drop(&c->out, (size_t)sent);
    if (c->out.length) return;
    connection_watch(c);
    if (c->streaming) schedule(c, mono_ns());
}

/* ---- requests ------------------------------------------------------------------------------------------ */
static void reply_json(connection *c, const char *status, const bytes *body) {
    bytes out = {0};
    bytes_printf(&out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", status, body->length);
    bytes_add(&out, body->data, body->length);
    connection_send(c, out.data, out.length);
    bytes_free(&out);
}

static void stats_body(bytes *body) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    bytes_printf(body, "{\"chunks\":%llu,\"streams\":%llu,\"open\":%llu,\"open_max\":%llu,\"finished\":%llu,\"early\":%llu,\"stalls\":%llu,"
                 "\"late_max_ms\":%.3f,\"cpu_s\":%.3f,\"closed_early\":[", (unsigned long long)stats.chunks, (unsigned long long)stats.streams,
                 (unsigned long long)stats.open, (unsigned long long)stats.open_max, (unsigned long long)stats.finished,
                 (unsigned long long)stats.early, (unsigned long long)stats.stalls, (double)stats.late_max_ns / 1e6, cpu_s);
    uint64_t from = stats.early > CLOSED_KEPT ? stats.early - CLOSED_KEPT : 0;
    for (uint64_t i = from; i < stats.early; i++)
        bytes_printf(body, "%s[%llu,%llu]", i > from ? "," : "", (unsigned long long)closed_early[i % CLOSED_KEPT].number,
                     (unsigned long long)closed_early[i % CLOSED_KEPT].at_ns);
    bytes_printf(body, "]}");
    stats.late_max_ns = 0;
}

static bool asks_for_stream(const char *body) {
    const char *at = strstr(body, "\"stream\"");
    if (!at) return false;
    at += 8;
    while (*at == ' ' || *at == ':') at++;
    return strncmp(at, "true", 4) == 0;
}

static void serve(connection *c, const char *head, const char *body) {
    bytes reply = {0};
    const char *status = "200 OK";
    if (!strncmp(head, "GET /stats", 10)) stats_body(&reply);
    else if (!strncmp(head, "GET /v1/models", 14)) bytes_printf(&reply, "{\"object\":\"list\",\"data\":[{\"id\":\"fake\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"bench\"}]}");
    else if (strncmp(head, "POST /v1/chat/completions", 25)) {
        status = "404 Not Found";
        bytes_printf(&reply, "{\"error\":{\"message\":\"no such route\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}");
    } else if (asks_for_stream(body)) { stream_begin(c, body); return; }
    else bytes_printf(&reply, "{\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"fake\",\"choices\":[{\"index\":0,"
                      "\"message\":{\"role\":\"assistant\",\"content\":\"A short answer\"},\"finish_reason\":\"stop\"}],"
                      "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":3,\"total_tokens\":4}}");
    reply_json(c, status, &reply);
    bytes_free(&reply);
}

/* Serve the request in the buffer if it is complete; bodies need a Content-Length. */
static void request_parse(connection *c) {
    char *end = c->in.length ? strstr(c->in.data, "\r\n\r\n") : NULL;
    if (!end || c->streaming) return;
    size_t head = (size_t)(end - c->in.data) + 4, body = 0;
    *end = 0;
    char *length = strcasestr(c->in.data, "\r\ncontent-length:");
    if (length) body = strtoull(length + 17, NULL, 10);
    *end = '\r';
    if (head + body > REQUEST_BYTES_MAX) { connection_close(c, false); return; }
    if (c->in.length < head + body) return;
    bytes request = c->in;
    c->in = (bytes){0};
    if (request.length > head + body) bytes_add(&c->in, request.data + head + body, request.length - head - body);
    request.data[head + body] = 0;
    serve(c, request.data, request.data + head);
    bytes_free(&request);
}

static void on_readable(connection *c) {
    static char buffer[1 << 16];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { connection_close(c, true); return; }
    if (c->in.length + (size_t)got > REQUEST_BYTES_MAX) { connection_close(c, false); return; }
    bytes_add(&c->in, buffer, (size_t)got);
    request_parse(c);
}

static void on_accept(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= CONNECTIONS_MAX) { close(fd); continue; }
        send_at_once(fd);
        connections[fd] = must(calloc(1, sizeof **connections));
        connections[fd]->fd = fd;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, (uint32_t)fd);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) die("port %d: %s", port, strerror(errno));
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void run_timers(void) {
    uint64_t now = mono_ns();
    while (timers.count && timers.items[0].due_ns <= now) {
        timer_item item = timer_pop(&timers);
        connection *c = connections[item.id];
        if (c && c->streaming && c->generation == item.kind && c->due_ns == item.due_ns) stream_tick(c, now);
    }
}

/* Wait to the next chunk's own time (to some 50 microseconds) instead of to the next millisecond. */
static int wait_exactly(struct epoll_event *events) {
    uint64_t now = mono_ns(), due = timers.count ? timers.items[0].due_ns : now + 100000000;
    uint64_t wait = due > now ? due - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(epoll, &readable);
    if (wait) pselect(epoll + 1, &readable, NULL, NULL, &timeout, NULL);
    return epoll_wait(epoll, events, EVENTS_PER_WAIT, 0);
}

int main(int argc, char **argv) {
    int port = 0;
    bool exact = false;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--exact")) exact = true;
        else if (!strcmp(argv[i], "--port") && i + 1 < argc) port = atoi(argv[++i]);
        else die("usage: fakeup [--port P] [--exact]");
    signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint32_t)listener);
    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int count = exact ? wait_exactly(events) : epoll_wait(epoll, events, EVENTS_PER_WAIT, wait_ms(&timers, 100));
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u32;
            if (fd == listener) { on_accept(listener); continue; }
            if (connections[fd] && events[i].events & EPOLLOUT) stream_unblocked(connections[fd]);
            if (connections[fd] && events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) on_readable(connections[fd]);
        }
        run_timers();
    }
}
