import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Door } from "~/features/session";
import { client, session } from "~/hooks/connected";
import { currentRoute, onRoute } from "~/hooks/route";
import "~/ui/tokens.css";
import "~/ui/base.css";
import { App } from "./App";
import { brand } from "./brand";

const queries = new QueryClient({
  defaultOptions: { queries: { retry: 2, refetchOnWindowFocus: false } },
});

brand();

onRoute(() => client.show(currentRoute()));
client.show(currentRoute());
void session.begin(() => client.start());
addEventListener("online", () => client.wake());
addEventListener("offline", () => client.offline());
addEventListener("pageshow", (event) => event.persisted && client.wake());
document.addEventListener("visibilitychange", () =>
  document.hidden ? client.hide() : client.wake(),
);

// A newer server has other files: take its page. Drafts and questions on their way are kept.
addEventListener("vite:preloadError", () => {
  if (Date.now() - Number(sessionStorage.getItem("perdure.reloaded") ?? 0) < 10_000) return;
  sessionStorage.setItem("perdure.reloaded", String(Date.now()));
  location.reload();
});

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Door>
        <App />
      </Door>
    </QueryClientProvider>
  </StrictMode>,
);
