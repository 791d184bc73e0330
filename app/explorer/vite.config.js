import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { collectPackages, licenses } from "./licenses.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// The page is answered at /graphiql, without a slash at the end, and its files lie one level below.
// A relative address keeps working when a proxy serves Tallybook under a path of its own.
const besideThePage = {
  name: "tallybook-page-addresses",
  transformIndexHtml: {
    order: "post",
    handler: (html) =>
      html.replaceAll(' crossorigin', "").replaceAll(/(src|href)="\.\//g, '$1="graphiql/'),
  },
};

export default defineConfig({
  base: "./",
  plugins: [besideThePage, licenses()],
  worker: { format: "es", plugins: () => [collectPackages()] },
  esbuild: { jsx: "automatic", legalComments: "none" },
  // graphql asks this way whether to leave out its warnings for developers.
  define: { "globalThis.process": "true" },
  resolve: {
    alias: [
      // The full editor brings a diff viewer, a colour picker and more that no GraphiQL page shows.
      {
        find: "monaco-editor/esm/vs/editor/edcore.main.js",
        replacement: here("src/editor.js"),
      },
      // GraphiQL formats variables with a whole JavaScript parser: half a megabyte for some JSON.
      { find: "prettier/parser-babel", replacement: here("src/json-format.js") },
      { find: "prettier/plugins/estree", replacement: here("src/json-format.js") },
    ],
  },
  build: {
    outDir: here("../static/graphiql"),
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 2048,
    chunkSizeWarningLimit: 4000,
    rollupOptions: {
      onwarn(warning, report) {
        // "use client" is a note to server-side renderers, and there is none here.
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") report(warning);
      },
    },
  },
});
