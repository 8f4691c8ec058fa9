/** Where on its host the server is found: "" = at the root, else such as `/assistant`. */

const told = document.querySelector<HTMLMetaElement>('meta[name="root"]')?.content ?? "";

/** The address of one of the server's paths, wherever it is mounted. */
export function at(path: string, root = told): string {
  return root + path;
}

/** The path within this application of an address of the browser. */
export function within(path: string, root = told): string {
  return path.startsWith(`${root}/`) ? path.slice(root.length) : path;
}
