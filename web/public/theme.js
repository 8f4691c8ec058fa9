// Before anything is painted: a chosen theme must not flash in from the other one.
try {
  const { theme } = JSON.parse(localStorage.getItem("perdure.preferences") ?? "{}");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme holds.
}
