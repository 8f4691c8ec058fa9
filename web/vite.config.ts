import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const server = process.env.PERDURE_URL ?? "http://127.0.0.1:8000";
const STATIC = fileURLToPath(new URL("../src/perdure/static", import.meta.url));
const COMPRESSED = /\.(js|css|svg)$|^assets\/.*\.html$/;

// Built into the Python package, which serves it; `npm run dev` passes calls on to a running one.
export default defineConfig({
  // Wherever the server is mounted: it completes the page's own addresses, the rest is relative.
  base: "./",
  plugins: [react(), newestFonts(), diagrams(), compressed()],
  worker: { format: "es" },
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: STATIC,
    emptyOutDir: true,
    // The policy lets in no code or font from data: addresses; files are cached for ever anyway.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: "manifest.json",
    // A test weighs what is loaded first.
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/api": { target: server, ws: true } } },
  test: { environment: "happy-dom", pool: "vmThreads", include: ["src/**/*.test.{ts,tsx}"] },
});

/** Compresses what was built, once, so that the server has to do nothing but send it. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const name of readdirSync(STATIC, { recursive: true, encoding: "utf8" })) {
        const path = join(STATIC, name);
        if (COMPRESSED.test(name)) writeFileSync(`${path}.gz`, gzipSync(readFileSync(path)));
      }
    },
  };
}

/** Keeps the one font format that every browser of today reads out of the three in KaTeX's CSS. */
function newestFonts(): Plugin {
  return {
    name: "newest-fonts",
    enforce: "pre",
    transform(code, id) {
      if (!/katex\.min\.css/.test(id)) return null;
      return code.replace(/,url\([^)]+\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, "");
    },
  };
}

/** Makes the page in which diagrams are drawn: one file, since its frame may load nothing. */
function diagrams(): Plugin {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
  const code = [
    read("node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"),
    read("src/features/chat/diagrams/frame.js"),
  ].join("\n");
  const page = `<!doctype html><meta charset="utf-8"><body><script>${code}</script>`;
  const name = `assets/diagrams-${createHash("sha256").update(page).digest("hex").slice(0, 8)}.html`;
  return {
    name: "diagrams",
    resolveId: (id) => (id === "virtual:diagrams" ? `\0${id}` : null),
    load: (id) => (id === "\0virtual:diagrams" ? `export default "/${name}";` : null),
    generateBundle() {
      this.emitFile({ type: "asset", fileName: name, source: page });
    },
  };
}
