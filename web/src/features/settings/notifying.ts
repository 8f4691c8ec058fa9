/** The browser's permission to notify. */

/** Says whether notifications are possible, or could still be allowed. */
export function notifiable(): boolean {
  return "Notification" in globalThis && Notification.permission !== "denied";
}

/** Asks for the permission if it was not given yet, and returns whether it is. */
export async function askToNotify(): Promise<boolean> {
  if (!notifiable()) return false;
  if (Notification.permission === "granted") return true;
  return (await Notification.requestPermission()) === "granted";
}
