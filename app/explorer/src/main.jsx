import "./workers.js";
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./explorer.css";

import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import { Reading } from "./reading.jsx";
import { ask, preparedTabs } from "./server.js";
import { ledgerStorage, restoreTabs } from "./storage.js";

const WELCOME = `# Ask the ledger anything. Ctrl-Space lists what can come next.
query Ledger {
  ledger {
    name
    position
  }
}
`;

function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <path d="M8 8.5v15M13.3 8.5v15M18.7 8.5v15M24 8.5v15M5.5 21.5l21-11" />
    </svg>
  );
}

function Explorer({ storage, tabs }) {
  const [first] = tabs;
  return (
    <GraphiQL
      fetcher={ask}
      storage={storage}
      defaultQuery={WELCOME}
      defaultTabs={tabs.length > 0 ? tabs : undefined}
      initialQuery={first?.query}
      initialVariables={first?.variables}
      defaultEditorToolsVisibility="variables"
      inputValueDeprecation
      schemaDescription
      shouldPersistHeaders={false}
    >
      <GraphiQL.Logo>
        <span className="tallybook-logo">
          <Mark />
          Tallybook
        </span>
      </GraphiQL.Logo>
      <Reading />
    </GraphiQL>
  );
}

const { ledger, tabs } = await preparedTabs();
const storage = ledgerStorage(ledger);
const restored = storage !== null && restoreTabs(storage);
createRoot(document.getElementById("explorer")).render(
  <Explorer storage={storage} tabs={restored ? [] : tabs} />,
);
