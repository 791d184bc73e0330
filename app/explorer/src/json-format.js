// A prettier plugin for the variables and headers editors, on the JSON parser the page holds anyway.
import { applyEdits, format } from "jsonc-parser";

const LAYOUT = { tabSize: 2, insertSpaces: true, eol: "\n" };

export const parsers = {
  jsonc: {
    parse: (text) => ({ text }),
    astFormat: "json-text",
    locStart: () => 0,
    locEnd: (node) => node.text.length,
  },
};

export const printers = {
  "json-text": {
    print: ({ node }) => applyEdits(node.text, format(node.text, undefined, LAYOUT)).trim(),
  },
};
