// Load libraries when they are first needed: from a file beside the page, or from the page itself.

const loading = new Map();

/** Report a failure on the page and in the console. */
function complain(error) {
  const problem = document.getElementById("problem");
  problem.textContent = error.message;
  problem.hidden = false;
  throw error;
}

function library(name) {
  if (!loading.has(name)) {
    loading.set(
      name,
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        const carried = document.getElementById(`library-${name}`);
        if (carried) {
          script.textContent = carried.textContent;
          document.head.append(script);
          resolve();
          return;
        }
        script.src = document.body.dataset[name];
        script.onload = () => resolve();
        script.onerror = () => reject(new Error(`The file ${document.body.dataset[name]} is missing: keep it beside this page, or write both again.`));
        document.head.append(script);
      }),
    );
  }
  return loading.get(name);
}

/** Call ``make`` once when ``element`` comes near the window, or at once if ``now``. */
function whenNear(element, make, now = false) {
  if (now) {
    make();
    return;
  }
  const watcher = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      make();
    },
    { rootMargin: "400px" },
  );
  watcher.observe(element);
}
