import{a as e,f as s}from"./main-BGzrnB4N.js";const r={tabSize:2,insertSpaces:!0,eol:`
`},o={jsonc:{parse:t=>({text:t}),astFormat:"json-text",locStart:()=>0,locEnd:t=>t.text.length}},a={"json-text":{print:({node:t})=>e(t.text,s(t.text,void 0,r)).trim()}};export{o as parsers,a as printers};
