/* loadgen - a load client for servers that stream fakeup's chunks to readers.
 *
 *   --mode proxy        POST --path; the response is the stream
 *   --mode background   POST --path, take `request_id` from the JSON, then --viewers readers GET --stream-path
 *   --mode get          only readers: GET --stream-path (idle or replaying ones)
 *
 * One thread, one epoll loop, a connection per call.  It reads the markers in delta events, checks that each
 * reader sees every chunk once and in order, and prints one JSON object.  See README.md for flags and fields.
 */
#include "common.h"
#include "histogram.h"
#include "process.h"

enum { READ_BYTES = 1 << 18, LINE_BYTES_MAX = 64 << 20, ID_BYTES = 96, BODY_BYTES = 1 << 20, BODIES_MAX = 64 };
typedef enum { PROXY, BACKGROUND, GET } mode_kind;
typedef enum { CREATE, STREAM, CANCEL } call_kind;
typedef enum { START_STREAM, START_VIEWER, WINDOW_OPENS, WINDOW_CLOSES, GIVE_UP, SEND_CANCEL } timer_kind;
typedef enum { HEAD, BODY_LENGTH, BODY_CLOSE, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, ENDED } http_state;

static struct {
    mode_kind mode;
    const char *path, *stream_path, *cancel_path, *header, *bodies[BODIES_MAX];
    int body_count, port, streams, viewers, ramp_ms, reattach, down_ms;
    long chunks, cancel_at;
    double warmup_s, window_s, timeout_s;
    bool stop_after_window;
    pid_list sut, helpers;
} options = {.mode = PROXY, .path = "/v1/chat/completions", .stream_path = "/api/requests/{id}/stream",
             .cancel_path = "/api/requests/{id}/cancel", .streams = 1, .viewers = 1, .ramp_ms = 0, .down_ms = 200,
             .chunks = -1, .cancel_at = -1, .warmup_s = 0, .window_s = 1, .timeout_s = 60};

typedef struct { char id[ID_BYTES]; int64_t upstream; uint64_t posted_wall_ns, posted_ns, cancelled_ns; } answer;
typedef struct { int64_t last_chunk, last_event; uint64_t began_ns; int drops; bool done; } viewer;
typedef struct {
    call_kind kind;
    int fd;
    uint32_t owner;                         /* an answer (CREATE, CANCEL) or a viewer (STREAM) */
    bool connected, live, got_body, event_seen, event_is_delta;
    http_state state;
    int status;
    uint64_t left, began_ns, began_wall_ns;
    bytes head, line, out;
} call;

static answer *answers;
static viewer *viewers;
static call **calls;
static size_t calls_room;
static timer_heap timers;
static int epoll;
static bool in_window, over;
static uint64_t viewers_done, viewers_all, begun_ns;
static machine_sample opened, closed;
static histogram latency, create, first_chunk, wire, resume_first, whole;
static struct { uint64_t delivered, window_delivered, events, replayed, gaps, duplicates, mixed, short_, errors, refused,
                completed, created, reattached, live, live_at_close, window_bytes; } counted;
static char first_error[300];

static void finish_viewer(uint32_t number);

/* ---- errors ---------------------------------------------------------------------------------------- */
static void note(uint64_t *counter, const char *format, ...) {
    (*counter)++;
    if (first_error[0]) return;
    va_list args;
    va_start(args, format);
    vsnprintf(first_error, sizeof first_error, format, args);
    va_end(args);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ') *at = '\'';
}

/* ---- calls -------------------------------------------------------------------------------------------- */
/* Replace {i} (stream number), {v} (viewer of it) and {id} in a template. */
static void fill(bytes *out, const char *template, uint32_t stream, uint32_t which, const char *id) {
    for (const char *at = template; *at;) {
        char number[16];
        if (!strncmp(at, "{id}", 4)) { bytes_add(out, id, strlen(id)); at += 4; }
        else if (!strncmp(at, "{i}", 3) || !strncmp(at, "{v}", 3)) {
            int length = snprintf(number, sizeof number, "%u", at[1] == 'i' ? stream : which);
            bytes_add(out, number, (size_t)length);
            at += 3;
        } else bytes_add(out, at++, 1);
    }
}

static void request_text(call *c) {
    bytes path = {0}, body = {0}, header = {0};
    bool is_get = c->kind == STREAM && options.mode != PROXY;
    uint32_t stream = c->kind == STREAM ? c->owner / (uint32_t)options.viewers : c->owner;
    const char *template = c->kind == CANCEL ? options.cancel_path : is_get ? options.stream_path : options.path;
    fill(&path, template, stream, c->kind == STREAM ? c->owner % (uint32_t)options.viewers : 0, answers[stream].id);
    if (!is_get && c->kind != CANCEL && options.body_count)
        fill(&body, options.bodies[stream % (uint32_t)options.body_count], stream, 0, "");
    bytes_printf(&c->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", is_get ? "GET" : "POST", path.data, options.port);
    if (is_get) {
        bytes_printf(&c->out, "Accept: text/event-stream\r\n");
        if (viewers[c->owner].last_event >= 0) bytes_printf(&c->out, "Last-Event-ID: %lld\r\n", (long long)viewers[c->owner].last_event);
    } else {
        bytes_printf(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.length);
    }
    if (options.header) {
        fill(&header, options.header, stream, 0, "");
        bytes_printf(&c->out, "%s\r\n", header.data);
    }
    bytes_printf(&c->out, "Connection: %s\r\n\r\n", c->kind == STREAM ? "keep-alive" : "close");
    bytes_add(&c->out, body.data ? body.data : "", body.length);
    bytes_free(&path);
    bytes_free(&body);
    bytes_free(&header);
}

static void call_close(call *c) {
    if (c->live) counted.live--;
    close(c->fd);
    calls[c->fd] = NULL;
    bytes_free(&c->head);
    bytes_free(&c->line);
    bytes_free(&c->out);
    free(c);
}

static void call_begin(call_kind kind, uint32_t owner) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    while ((size_t)fd >= calls_room) {
        calls = must(realloc(calls, (calls_room * 2 + 1024) * sizeof *calls));
        memset(calls + calls_room, 0, (calls_room + 1024) * sizeof *calls);
        calls_room = calls_room * 2 + 1024;
    }
    call *c = calls[fd] = must(calloc(1, sizeof *c));
    *c = (call){.kind = kind, .fd = fd, .owner = owner, .began_ns = mono_ns(), .began_wall_ns = wall_ns()};
    struct sockaddr_in address = loopback(options.port);
    send_at_once(fd);
    request_text(c);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect: %s", strerror(errno));
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, (uint32_t)fd);
    if (kind == CREATE || (kind == STREAM && options.mode == PROXY)) {
        uint32_t stream = kind == CREATE ? owner : owner / (uint32_t)options.viewers;
        answers[stream].posted_ns = c->began_ns;
        answers[stream].posted_wall_ns = c->began_wall_ns;
    }
    if (kind == CANCEL) answers[owner].cancelled_ns = c->began_wall_ns;
}

static void after_ms(uint64_t ms, timer_kind kind, uint32_t id) {
    timer_push(&timers, (timer_item){mono_ns() + ms * 1000000, id, kind});
}

static void call_failed(call *c, const char *why) {
    note(&counted.errors, "%s call %u: %s", c->kind == STREAM ? "stream" : c->kind == CREATE ? "create" : "cancel", c->owner, why);
    call_kind kind = c->kind;
    uint32_t owner = c->owner;
    call_close(c);
    if (kind == STREAM) finish_viewer(owner);
    if (kind == CREATE)
        for (int v = 0; v < options.viewers; v++) finish_viewer(owner * (uint32_t)options.viewers + (uint32_t)v);
}

/* ---- readers --------------------------------------------------------------------------------------------- */
static void finish_viewer(uint32_t number) {
    viewer *v = &viewers[number];
    if (v->done) return;
    v->done = true;
    viewers_done++;
    if (viewers_done == viewers_all && closed.at_ns) over = true;
}

static bool wants_to_drop(const viewer *v) {
    if (v->drops >= options.reattach || options.chunks <= 0) return false;
    return v->last_chunk >= (int64_t)(v->drops + 1) * options.chunks / (options.reattach + 1);
}

static void mark_seen(call *c, uint64_t sent_ns, int64_t upstream, int64_t chunk, uint64_t now_wall_ns) {
    viewer *v = &viewers[c->owner];
    answer *a = &answers[c->owner / (uint32_t)options.viewers];
    if (a->upstream < 0) {
        a->upstream = upstream;
        if (a->posted_wall_ns && chunk == 0 && sent_ns > a->posted_wall_ns) histogram_add(&wire, sent_ns - a->posted_wall_ns);
    }
    if (a->upstream != upstream) note(&counted.mixed, "answer %u: a chunk of stream %lld", c->owner, (long long)upstream);
    if (chunk > v->last_chunk + 1) note(&counted.gaps, "reader %u: chunk %lld after %lld", c->owner, (long long)chunk, (long long)v->last_chunk);
    if (chunk <= v->last_chunk) note(&counted.duplicates, "reader %u: chunk %lld again or late", c->owner, (long long)chunk);
    if (v->last_chunk < 0) histogram_add(&first_chunk, mono_ns() - c->began_ns);
    if (chunk > v->last_chunk) v->last_chunk = chunk;
    counted.delivered++;
    if (in_window) counted.window_delivered++;
    if (sent_ns < c->began_wall_ns && options.mode != PROXY) counted.replayed++;
    else if (in_window) histogram_add(&latency, now_wall_ns > sent_ns ? now_wall_ns - sent_ns : 0);
    if (options.cancel_at >= 0 && chunk >= options.cancel_at && !a->cancelled_ns) {
        a->cancelled_ns = 1;
        after_ms(0, SEND_CANCEL, c->owner / (uint32_t)options.viewers);
    }
}

static void scan_markers(call *c, const char *at, const char *end, uint64_t now_wall_ns) {
    while ((at = memchr(at, '~', (size_t)(end - at))) && end - at >= MARKER_BYTES) {
        uint64_t sent, upstream, chunk;
        bool is = at[1] == 't' && at[21] == '.' && at[28] == '.' && at[35] == '~' && get_digits(at + 2, 19, &sent) &&
                  get_digits(at + 22, 6, &upstream) && get_digits(at + 29, 6, &chunk);
        if (is) mark_seen(c, sent, (int64_t)upstream, (int64_t)chunk, now_wall_ns);
        at += is ? MARKER_BYTES : 1;
    }
}

/* One line of the event stream.  True: it was the line that ends the answer. */
static bool stream_line(call *c, const char *line, size_t length, uint64_t now_wall_ns) {
    viewer *v = &viewers[c->owner];
    if (length && line[length - 1] == '\r') length--;
    if (!length) { c->event_seen = false; return false; }
    if (length > 4 && !memcmp(line, "id: ", 4)) {
        int64_t number = strtoll(line + 4, NULL, 10);
        if (options.mode != PROXY && number <= v->last_event)
            note(&counted.duplicates, "reader %u: event %lld after %lld", c->owner, (long long)number, (long long)v->last_event);
        v->last_event = number;
    } else if (length > 7 && !memcmp(line, "event: ", 7)) {
        c->event_seen = true;
        c->event_is_delta = length > 13 && !memcmp(line + length - 6, ".delta", 6);
        counted.events++;
    } else if (length > 6 && !memcmp(line, "data: ", 6)) {
        if (!c->event_seen) counted.events++;
        if (!c->event_seen || c->event_is_delta) scan_markers(c, line + 6, line + length, now_wall_ns);
        return !c->event_seen && length >= 12 && !memcmp(line + 6, "[DONE]", 6);
    }
    return false;
}

static bool is_terminal_event(const char *line, size_t length) {
    static const char *const names[] = {"event: response.completed", "event: response.incomplete", "event: response.failed"};
    for (size_t i = 0; i < 3; i++)
        if (length >= strlen(names[i]) && !memcmp(line, names[i], strlen(names[i]))) return true;
    return false;
}

static void answer_complete(call *c, bool failed) {
    viewer *v = &viewers[c->owner];
    bool cancelled = answers[c->owner / (uint32_t)options.viewers].cancelled_ns > 0;
    if (failed && !cancelled) note(&counted.errors, "reader %u: the answer failed", c->owner);
    else if (!cancelled && options.chunks >= 0 && v->last_chunk != options.chunks - 1)
        note(&counted.short_, "reader %u: %lld of %ld chunks", c->owner, (long long)v->last_chunk + 1, options.chunks);
    else counted.completed++;
    histogram_add(&whole, mono_ns() - v->began_ns);
    uint32_t owner = c->owner;
    call_close(c);
    finish_viewer(owner);
}

static void drop_and_return(call *c) {
    uint32_t owner = c->owner;
    viewers[owner].drops++;
    call_close(c);
    after_ms((uint64_t)options.down_ms, START_VIEWER, owner);
}

/* Body bytes of a stream.  False: the call is closed. */
static bool stream_bytes(call *c, const char *data, size_t length, uint64_t now_wall_ns) {
    if (!c->got_body) {
        c->got_body = true;
        if (viewers[c->owner].drops) histogram_add(&resume_first, mono_ns() - c->began_ns);
    }
    const char *end = data + length;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        if (!newline || c->line.length) bytes_add(&c->line, data, (size_t)((newline ? newline : end) - data));
        if (!newline) break;
        const char *line = c->line.length ? c->line.data : data;
        size_t line_length = c->line.length ? c->line.length : (size_t)(newline - data);
        bool failed = line_length > 21 && !memcmp(line, "event: response.failed", 22);
        bool last = stream_line(c, line, line_length, now_wall_ns) || is_terminal_event(line, line_length);
        c->line.length = 0;
        if (last) return answer_complete(c, failed), false;
        data = newline + 1;
    }
    if (c->line.length > LINE_BYTES_MAX) return call_failed(c, "a line is too long"), false;
    if (wants_to_drop(&viewers[c->owner])) { counted.reattached++; return drop_and_return(c), false; }
    return true;
}

/* ---- replies ------------------------------------------------------------------------------------------------- */
static void created(call *c) {
    answer *a = &answers[c->owner];
    char *at = c->line.data ? strstr(c->line.data, "\"request_id\"") : NULL;
    char *from = at ? strchr(at + 12, '"') : NULL, *to = from ? strchr(from + 1, '"') : NULL;
    if (!to || to - from > ID_BYTES) { call_failed(c, "no request_id in the reply"); return; }
    memcpy(a->id, from + 1, (size_t)(to - from - 1));
    counted.created++;
    histogram_add(&create, mono_ns() - c->began_ns);
    uint32_t owner = c->owner;
    call_close(c);
    for (int v = 0; v < options.viewers; v++) {
        uint32_t number = owner * (uint32_t)options.viewers + (uint32_t)v;
        viewers[number].began_ns = mono_ns();
        call_begin(STREAM, number);
    }
}

/* The whole reply, or its last byte, is here.  False always: the call is closed. */
static bool body_ended(call *c) {
    if (c->kind == STREAM) call_failed(c, "the stream ended before its last event");
    else if (c->kind == CREATE) created(c);
    else call_close(c);
    return false;
}

static bool body_bytes(call *c, const char *data, size_t length, uint64_t now_wall_ns) {
    if (in_window) counted.window_bytes += length;
    if (c->kind == STREAM) return stream_bytes(c, data, length, now_wall_ns);
    bytes_add(&c->line, data, length);
    if (c->line.length > BODY_BYTES) return call_failed(c, "a reply is too long"), false;
    return true;
}

static bool head_complete(call *c) {
    c->status = c->head.length > 12 ? atoi(c->head.data + 9) : 0;
    bool good = c->kind == CREATE ? c->status == 202 || c->status == 200 : c->status == 200;
    if (!good) {
        counted.refused++;
        char why[64];
        snprintf(why, sizeof why, "HTTP status %d", c->status);
        return call_failed(c, why), false;
    }
    char *length = strcasestr(c->head.data, "\r\ncontent-length:");
    bool chunked = strcasestr(c->head.data, "\r\ntransfer-encoding: chunked") != NULL;
    c->left = length ? strtoull(length + 17, NULL, 10) : 0;
    c->state = chunked ? CHUNK_SIZE : length ? BODY_LENGTH : BODY_CLOSE;
    if (c->kind == STREAM) { c->live = true; counted.live++; }
    return c->state != BODY_LENGTH || c->left || body_ended(c);
}

/* A line of HTTP (the head, a chunk's size) may come in pieces: keep it in `head`.  NULL: not yet whole. */
static const char *take_line(call *c, const char *data, const char *end) {
    const char *newline = memchr(data, '\n', (size_t)(end - data));
    bytes_add(&c->head, data, (size_t)((newline ? newline + 1 : end) - data));
    return newline ? newline + 1 : NULL;
}

static const char *parse_head(call *c, const char *data, const char *end) {
    while (data && data < end) {
        data = take_line(c, data, end);
        if (data && c->head.length >= 4 && !memcmp(c->head.data + c->head.length - 4, "\r\n\r\n", 4)) {
            if (!head_complete(c)) return NULL;
            c->head.length = 0;
            return data;
        }
    }
    return NULL;
}

static const char *parse_chunk_size(call *c, const char *data, const char *end, bool *open) {
    data = take_line(c, data, end);
    if (!data) return NULL;
    c->left = strtoull(c->head.data, NULL, 16);
    c->head.length = 0;
    c->state = CHUNK_DATA;
    if (!c->left) *open = body_ended(c);
    return *open ? data : NULL;
}

static void parse(call *c, const char *data, const char *end, uint64_t now_wall_ns) {
    bool open = true;
    while (data && data < end) {
        size_t here = (size_t)(end - data);
        switch (c->state) {
        case HEAD: data = parse_head(c, data, end); break;
        case CHUNK_SIZE: data = parse_chunk_size(c, data, end, &open); break;
        case CHUNK_END: data = take_line(c, data, end); if (data) { c->head.length = 0; c->state = CHUNK_SIZE; } break;
        case BODY_CLOSE: body_bytes(c, data, here, now_wall_ns); return;
        case BODY_LENGTH: case CHUNK_DATA: {
            size_t part = here < c->left ? here : c->left;
            if (!body_bytes(c, data, part, now_wall_ns)) return;
            c->left -= part;
            data += part;
            if (c->left) break;
            if (c->state == BODY_LENGTH) { body_ended(c); return; }
            c->state = CHUNK_END;
            break;
        }
        case ENDED: return;
        }
    }
}

static void on_readable(call *c) {
    static char buffer[READ_BYTES];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) parse(c, buffer, buffer + got, wall_ns());
    else if (got == 0 && c->state == BODY_CLOSE && c->kind != STREAM) body_ended(c);
    else call_failed(c, got < 0 ? strerror(errno) : "the server closed the connection");
}

static void on_writable(call *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) { call_failed(c, strerror(error)); return; }
    ssize_t sent = send(c->fd, c->out.data, c->out.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { call_failed(c, strerror(errno)); return; }
    if (sent > 0) bytes_drop(&c->out, (size_t)sent);
    if (!c->out.length) watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, (uint32_t)c->fd);
}

/* ---- timers ----------------------------------------------------------------------------------------------------- */
static void on_timer(timer_item item) {
    switch ((timer_kind)item.kind) {
    case START_STREAM:
        if (options.mode == BACKGROUND) call_begin(CREATE, item.id);
        else for (int v = 0; v < options.viewers; v++) {
            viewers[item.id * (uint32_t)options.viewers + (uint32_t)v].began_ns = mono_ns();
            call_begin(STREAM, item.id * (uint32_t)options.viewers + (uint32_t)v);
        }
        break;
    case START_VIEWER: call_begin(STREAM, item.id); break;
    case SEND_CANCEL: call_begin(CANCEL, item.id); break;
    case WINDOW_OPENS:
        opened = sample_machine(&options.sut, &options.helpers, true);
        in_window = true;
        break;
    case WINDOW_CLOSES:
        in_window = false;
        counted.live_at_close = counted.live;
        closed = sample_machine(&options.sut, &options.helpers, false);
        over = options.stop_after_window || viewers_done == viewers_all;
        break;
    case GIVE_UP: over = true; break;
    }
}

static void plan_timers(void) {
    begun_ns = mono_ns();
    for (int i = 0; i < options.streams; i++)
        timer_push(&timers, (timer_item){begun_ns + (uint64_t)options.ramp_ms * 1000000ull * (uint64_t)i / (uint64_t)options.streams, (uint32_t)i, START_STREAM});
    timer_push(&timers, (timer_item){begun_ns + (uint64_t)(options.warmup_s * 1e9), 0, WINDOW_OPENS});
    timer_push(&timers, (timer_item){begun_ns + (uint64_t)((options.warmup_s + options.window_s) * 1e9), 0, WINDOW_CLOSES});
    timer_push(&timers, (timer_item){begun_ns + (uint64_t)(options.timeout_s * 1e9), 0, GIVE_UP});
}

/* ---- report -------------------------------------------------------------------------------------------------------- */
static void print_histogram(const char *name, const histogram *h) {
    printf("\"%s\":{\"count\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f},", name, (unsigned long long)h->count,
           histogram_ms(h, 0.50), histogram_ms(h, 0.99), h->count ? (double)h->max_us / 1e3 : -1.0);
}

static void print_count(const char *name, uint64_t value) {
    printf("\"%s\":%llu,", name, (unsigned long long)value);
}

static void print_machine(void) {
    double seconds = (double)(closed.at_ns - opened.at_ns) / 1e9, sut = closed.sut_s - opened.sut_s;
    double known = sut + closed.helper_s - opened.helper_s + closed.own_s - opened.own_s;
    double other = closed.busy_s - opened.busy_s - known;
    double per = counted.window_delivered ? sut * 1e6 / (double)counted.window_delivered : -1;
    if (seconds <= 0) seconds = 1e-9;
    printf("\"window_s\":%.3f,\"chunks_per_s\":%.1f,\"bytes_per_s\":%.0f,\"sut_cpu_s\":%.6f,\"sut_cpu_share\":%.3f,\"sut_us_per_chunk\":%.2f,", seconds,
           (double)counted.window_delivered / seconds, (double)counted.window_bytes / seconds, sut, sut / seconds, per);
    printf("\"helper_cpu_share\":%.3f,\"own_cpu_share\":%.3f,\"other_cpu_share\":%.3f,\"steal_share\":%.3f,",
           (closed.helper_s - opened.helper_s) / seconds, (closed.own_s - opened.own_s) / seconds,
           other > 0 ? other / seconds : 0, (closed.stolen_s - opened.stolen_s) / seconds);
    printf("\"pss_kib\":%.0f,\"rss_kib\":%.0f,\"pss_kib_before\":%.0f,", closed.pss_kib, closed.rss_kib, opened.pss_kib);
}

static void print_cancels(void) {
    printf("\"cancels\":[");
    bool first = true;
    for (int i = 0; i < options.streams; i++)
        if (answers[i].cancelled_ns > 1) {
            printf("%s[%lld,%llu]", first ? "" : ",", (long long)answers[i].upstream, (unsigned long long)answers[i].cancelled_ns);
            first = false;
        }
    printf("],");
}

static bool report(void) {
    uint64_t unfinished = options.stop_after_window ? 0 : viewers_all - viewers_done;
    bool good = !counted.gaps && !counted.duplicates && !counted.mixed && !counted.short_ && !counted.errors && !unfinished;
    printf("{");
    print_histogram("latency", &latency);
    print_histogram("create", &create);
    print_histogram("first_chunk", &first_chunk);
    print_histogram("wire", &wire);
    print_histogram("resume", &resume_first);
    print_histogram("whole", &whole);
    print_machine();
    print_cancels();
    print_count("delivered", counted.delivered);
    print_count("window_delivered", counted.window_delivered);
    print_count("events", counted.events);
    print_count("replayed", counted.replayed);
    print_count("created", counted.created);
    print_count("completed", counted.completed);
    print_count("reattached", counted.reattached);
    print_count("live", counted.live_at_close);
    print_count("gaps", counted.gaps);
    print_count("duplicates", counted.duplicates);
    print_count("mixed", counted.mixed);
    print_count("short", counted.short_);
    print_count("errors", counted.errors);
    print_count("refused", counted.refused);
    print_count("unfinished", unfinished);
    printf("\"first_error\":\"%s\",\"good\":%s}\n", first_error, good ? "true" : "false");
    return good;
}

/* ---- flags ------------------------------------------------------------------------------------------------------------ */
static mode_kind mode_of(const char *name) {
    if (!strcmp(name, "proxy")) return PROXY;
    if (!strcmp(name, "background")) return BACKGROUND;
    if (!strcmp(name, "get")) return GET;
    die("unknown mode %s", name);
    return PROXY;
}

static void add_pid(pid_list *list, const char *value) {
    if (list->count == ROOTS_MAX) die("too many pids");
    list->pids[list->count++] = atoi(value);
}

static void read_flag(const char *flag, const char *value) {
    struct { const char *name; int *to; } ints[] = {{"--port", &options.port}, {"--streams", &options.streams}, {"--viewers", &options.viewers},
        {"--ramp-ms", &options.ramp_ms}, {"--reattach", &options.reattach}, {"--down-ms", &options.down_ms}};
    struct { const char *name; long *to; } longs[] = {{"--chunks", &options.chunks}, {"--cancel-at", &options.cancel_at}};
    struct { const char *name; double *to; } doubles[] = {{"--warmup", &options.warmup_s}, {"--window", &options.window_s}, {"--timeout", &options.timeout_s}};
    struct { const char *name; const char **to; } texts[] = {{"--path", &options.path}, {"--stream-path", &options.stream_path},
        {"--cancel-path", &options.cancel_path}, {"--header", &options.header}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) if (!strcmp(flag, ints[i].name)) { *ints[i].to = atoi(value); return; }
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++) if (!strcmp(flag, longs[i].name)) { *longs[i].to = atol(value); return; }
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) if (!strcmp(flag, doubles[i].name)) { *doubles[i].to = atof(value); return; }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) if (!strcmp(flag, texts[i].name)) { *texts[i].to = value; return; }
    if (!strcmp(flag, "--mode")) options.mode = mode_of(value);
    else if (!strcmp(flag, "--pid")) add_pid(&options.sut, value);
    else if (!strcmp(flag, "--helper")) add_pid(&options.helpers, value);
    else if (!strcmp(flag, "--body")) {
        if (options.body_count == BODIES_MAX) die("too many bodies");
        options.bodies[options.body_count++] = value;
    } else die("unknown flag %s", flag);
}

static void read_flags(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--stop-after-window")) { options.stop_after_window = true; continue; }
        if (i + 1 == argc) die("%s needs a value", argv[i]);
        read_flag(argv[i], argv[i + 1]);
        i++;
    }
    if (!options.port || options.streams < 1 || options.viewers < 1) die("--port, --streams and --viewers must be positive");
    if (options.mode == PROXY) options.viewers = 1;
}

static void prepare(void) {
    signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    viewers_all = (uint64_t)options.streams * (uint64_t)options.viewers;
    answers = must(calloc((size_t)options.streams, sizeof *answers));
    viewers = must(calloc(viewers_all, sizeof *viewers));
    for (int i = 0; i < options.streams; i++) answers[i].upstream = -1;
    for (uint64_t i = 0; i < viewers_all; i++) viewers[i].last_chunk = viewers[i].last_event = -1;
}

int main(int argc, char **argv) {
    read_flags(argc, argv);
    prepare();
    plan_timers();
    struct epoll_event events[EVENTS_PER_WAIT];
    while (!over) {
        int count = epoll_wait(epoll, events, EVENTS_PER_WAIT, wait_ms(&timers, 100));
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u32;
            if (calls[fd] && calls[fd]->out.length && events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) on_writable(calls[fd]);
            if (calls[fd] && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(calls[fd]);
        }
        while (!over && timers.count && timers.items[0].due_ns <= mono_ns()) on_timer(timer_pop(&timers));
    }
    if (!closed.at_ns) closed = sample_machine(&options.sut, &options.helpers, false);
    return report() ? 0 : 1;
}
