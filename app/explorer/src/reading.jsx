import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect } from "react";

const DARK = window.matchMedia("(prefers-color-scheme: dark)");

/** Long lines wrap, and the editors follow the system's colours while the page is open. */
export function Reading() {
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const responseEditor = useGraphiQL((state) => state.responseEditor);
  const theme = useGraphiQL((state) => state.theme);
  const { setTheme } = useGraphiQLActions();

  useEffect(() => {
    for (const editor of [queryEditor, variableEditor, responseEditor]) {
      editor?.updateOptions({ wordWrap: "on", wrappingIndent: "indent", fontSize: 14 });
    }
  }, [queryEditor, variableEditor, responseEditor]);

  useEffect(() => {
    if (theme !== null) return undefined;
    const follow = () => setTheme(null);
    DARK.addEventListener("change", follow);
    return () => DARK.removeEventListener("change", follow);
  }, [theme, setTheme]);

  return null;
}
