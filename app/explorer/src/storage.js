// What the browser keeps between visits: one drawer per ledger, and never a request header.
const LISTS_WITH_HEADERS = new Set(["graphiql:tabState", "graphiql:queries", "graphiql:favorites"]);

/** Storage for GraphiQL that belongs to one ledger, or null where the browser forbids storage. */
export function ledgerStorage(ledger) {
  const drawer = openDrawer();
  if (drawer === null) return null;
  const prefix = `tallybook:${ledger}:`;
  const mine = () => Object.keys(drawer).filter((key) => key.startsWith(prefix));
  // The colour theme is the reader's taste, whichever ledger is open.
  const address = (key) => (key === "graphiql:theme" ? "tallybook:theme" : prefix + key);
  return {
    get length() {
      return mine().length;
    },
    getItem: (key) => drawer.getItem(address(key)),
    removeItem: (key) => drawer.removeItem(address(key)),
    setItem(key, value) {
      if (key === "graphiql:headers") return;
      drawer.setItem(address(key), LISTS_WITH_HEADERS.has(key) ? withoutHeaders(value) : value);
    },
    clear: () => mine().forEach((key) => drawer.removeItem(key)),
  };
}

/** Whether this browser has tabs of the ledger to show again; makes the open one the shown one. */
export function restoreTabs(storage) {
  try {
    const { tabs, activeTabIndex } = JSON.parse(storage.getItem("graphiql:tabState"));
    const { query, variables } = tabs[activeTabIndex] ?? tabs[0];
    // GraphiQL opens one more tab when these two differ from every stored tab, as they do when the
    // page was closed within half a second of the last change.
    for (const [key, text] of Object.entries({ query, variables })) {
      if (text) storage.setItem(`graphiql:${key}`, text);
      else storage.removeItem(`graphiql:${key}`);
    }
    return true;
  } catch {
    return false;
  }
}

// GraphiQL leaves headers out of its tabs when told to, but its history writes them down all the
// same, and an API key is a header.
function withoutHeaders(text) {
  return JSON.stringify(JSON.parse(text), (key, value) => (key === "headers" ? null : value));
}

function openDrawer() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
