import { expect, test } from "vitest";
import { keysOf } from "./shortcuts";

test("keys are named as they are printed", () => {
  expect(keysOf("Mod Shift O", { apple: false, enter_sends: true })).toEqual([
    "Ctrl",
    "Shift",
    "O",
  ]);
  expect(keysOf("Mod K", { apple: true, enter_sends: true })).toEqual(["⌘", "K"]);
});

test("the keys for sending follow the setting", () => {
  expect(keysOf("Send", { apple: false, enter_sends: true })).toEqual(["Enter"]);
  expect(keysOf("Send", { apple: false, enter_sends: false })).toEqual(["Shift", "Enter"]);
  expect(keysOf("Break", { apple: false, enter_sends: true })).toEqual(["Shift", "Enter"]);
});
