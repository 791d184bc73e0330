// Writes LICENSES.txt from the packages that really ended up in the bundle, workers included.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NOTICE_FILES = /^(licen[cs]e|copying|notice|thirdpartynotices)(\.|-|$)/i;
const RULE = "=".repeat(80);
const NODE_MODULES = fileURLToPath(new URL("node_modules", import.meta.url));
const HEAD =
  "The explorer page holds code from the packages below. Each stands under its own licence.\n" +
  "The editor's icons are Microsoft's codicons, licensed under CC BY 4.0.\n";
// Packages released without a copy of the licence file that lies in their repository.
const SAME_REPOSITORY = {
  "@graphiql/plugin-doc-explorer": "@graphiql/react",
  "@graphiql/plugin-history": "@graphiql/react",
  "react-compiler-runtime": "react",
  "react-remove-scroll-bar": "react-remove-scroll",
};
const folders = new Set();

/** Remembers the package folder of every module that a bundle holds. */
export function collectPackages() {
  return {
    name: "tallybook-collect-packages",
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.moduleIds ?? []) remember(id);
      }
    },
  };
}

/** Adds LICENSES.txt to the build output; a package without a licence text stops the build. */
export function licenses() {
  const collector = collectPackages();
  return {
    name: "tallybook-licenses",
    enforce: "post",
    generateBundle(options, bundle) {
      collector.generateBundle(options, bundle);
      const entries = [...folders].map(entry).sort((a, b) => a.title.localeCompare(b.title, "en"));
      this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: document(entries) });
    },
  };
}

function remember(id) {
  const path = id.replace(/^\0/, "").replace(/\?.*$/, "");
  const match = path.match(/^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  if (match) folders.add(match[1]);
}

function entry(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const texts = noticeFiles(folder, name).map((path) => readFileSync(path, "utf8").trim());
  if (texts.length === 0) throw new Error(`${name} has no licence text`);
  return { title: `${name} ${version} (${license})`, text: texts.join("\n\n") };
}

function noticeFiles(folder, name) {
  const own = readdirSync(folder).filter((file) => NOTICE_FILES.test(file)).sort();
  if (own.length > 0) return own.map((file) => join(folder, file));
  const sibling = SAME_REPOSITORY[name];
  return sibling ? noticeFiles(join(NODE_MODULES, sibling), sibling) : [];
}

function document(entries) {
  const titlesByText = new Map();
  for (const { title, text } of entries) {
    titlesByText.set(text, [...new Set([...(titlesByText.get(text) ?? []), title])]);
  }
  const sections = [...titlesByText].map(
    ([text, titles]) => `\n${RULE}\n${titles.join("\n")}\n${RULE}\n\n${text}\n`,
  );
  return HEAD + sections.join("");
}
