import { lazy, Suspense, useEffect, useState } from "react";
import { Conversation } from "~/features/chat";
import { actions, useConfig, useOperating, usePreferences, useRoute } from "~/hooks";
import { client } from "~/hooks/connected";
import { Tooltips } from "~/ui/Tooltip";
import { applyTheme } from "~/ui/theme";
import { Notices } from "./Notices";
import { Shell } from "./Shell";
import { useAttention } from "./useAttention";
import { useShortcuts } from "./useShortcuts";

const SettingsDialog = lazy(() => import("~/features/settings"));
const Operator = lazy(() => import("~/features/operator"));
const HelpSheet = lazy(() => import("~/features/help"));
const TokensDialog = lazy(() => import("~/features/tokens"));

type Sheet = "settings" | "help" | "tokens" | null;

/** The whole page. */
export function App() {
  const { chatId } = useRoute();
  const operating = useOperating();
  const [sheet, show] = useState<Sheet>(null);
  useTheme();
  useKeepalive();
  useAttention();
  const [sought, seek] = useState(0);
  useShortcuts({ help: () => show("help"), search: () => seek((times) => times + 1) });
  return (
    <>
      <Shell
        sought={sought}
        onSettings={() => show("settings")}
        onTokens={() => show("tokens")}
        onHelp={() => show("help")}
      >
        {operating ? (
          <Suspense>
            <Operator />
          </Suspense>
        ) : (
          <Conversation key={chatId ?? "new"} chatId={chatId} />
        )}
      </Shell>
      <Suspense>
        {sheet === "settings" && <SettingsDialog onClose={() => show(null)} />}
        {sheet === "tokens" && <TokensDialog onClose={() => show(null)} />}
        {sheet === "help" && <HelpSheet onClose={() => show(null)} />}
      </Suspense>
      <Notices onDismiss={actions.dismiss} />
      <Tooltips />
    </>
  );
}

function useTheme() {
  const { theme } = usePreferences();
  useEffect(() => applyTheme(theme), [theme]);
}

/** The server says how often a living line gives a sign. */
function useKeepalive() {
  const keepalive_s = useConfig()?.keepalive_s;
  useEffect(() => {
    if (keepalive_s) client.expectSignEach(keepalive_s);
  }, [keepalive_s]);
}
