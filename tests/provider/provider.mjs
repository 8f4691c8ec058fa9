// An OpenID provider for one client: `node provider.mjs PORT CLIENT_URL`. Any login is right; who is
// called `olga…` is an operator; nobody has looked whether the address of an `unsure…` is theirs. It says
// `ready` once it listens.
import Provider from "oidc-provider";

const [port, home] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "perdure",
      client_secret: "a-secret-of-the-tests",
      redirect_uris: [`${home}/auth/callback`],
      post_logout_redirect_uris: [`${home}/`],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  pkce: { required: () => true },
  cookies: { keys: ["a key of the tests"] },
  claims: { openid: ["sub"], profile: ["name", "groups"], email: ["email", "email_verified"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id[0].toUpperCase()}${id.slice(1)} Example`,
      email: `${id}@example.com`,
      email_verified: !id.startsWith("unsure"),
      groups: id.startsWith("olga") ? ["staff", "operators"] : ["staff"],
    }),
  }),
});

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
