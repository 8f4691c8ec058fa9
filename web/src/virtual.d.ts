/** The address of the page in which diagrams are drawn; made by `vite.config.ts`. */
declare module "virtual:diagrams" {
  const address: string;
  export default address;
}
