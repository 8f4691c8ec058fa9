import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { client } from "~/hooks/connected";
import { currentRoute, onRoute } from "~/hooks/route";
import "~/ui/tokens.css";
import "~/ui/base.css";
import { App } from "./App";
import { brand } from "./brand";

const queries = new QueryClient({
  defaultOptions: { queries: { retry: 2, refetchOnWindowFocus: false } },
});

// The policy lets style elements in only with the page's nonce.
setNonce(document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "");
brand();

onRoute(() => client.show(currentRoute()));
client.show(currentRoute());
client.start();
addEventListener("online", () => client.wake());
addEventListener("offline", () => client.offline());
addEventListener("pageshow", (event) => event.persisted && client.wake());
document.addEventListener("visibilitychange", () =>
  document.hidden ? client.hide() : client.wake(),
);

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
