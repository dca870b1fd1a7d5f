// The JavaScript programs of ngrok's pages on TLS termination and mutual TLS: `node snippets.cjs CASE`.
// Only what is one's own differs from the pages: the edge (`edge`), the address, the domain and the files.
const ngrok = require("@ngrok/ngrok");
const fs = require("fs");

const edge = { server_addr: process.env.PORTICO_CONNECT_URL, root_cas: process.env.PORTICO_CONNECT_CAS };
const { UPSTREAM, DOMAIN, CRT, KEY, CAS } = process.env;

const cases = {
  upstream: () =>
    ngrok.forward({
      ...edge,
      addr: UPSTREAM,
      authtoken_from_env: true,
      proto: "tls",
      domain: DOMAIN,
    }),
  edge: () =>
    ngrok.forward({
      ...edge,
      addr: UPSTREAM,
      authtoken_from_env: true,
      proto: "tls",
      crt: "",
      key: "",
    }),
  "own-certificate": () =>
    ngrok.forward({
      ...edge,
      addr: UPSTREAM,
      authtoken_from_env: true,
      proto: "tls",
      crt: fs.readFileSync(CRT, "utf8"),
      key: fs.readFileSync(KEY, "utf8"),
    }),
  "mutual-tls": () =>
    ngrok.forward({
      ...edge,
      addr: UPSTREAM,
      authtoken_from_env: true,
      proto: "tls",
      domain: DOMAIN,
      crt: fs.readFileSync(CRT, "utf8"),
      key: fs.readFileSync(KEY, "utf8"),
      mutual_tls_cas: [fs.readFileSync(CAS, "utf8")],
    }),
};

(async function () {
  const listener = await cases[process.argv[2]]();
  console.log(`Ingress established at: ${listener.url()}`);
})();
setInterval(() => {}, 60_000); // an open listener alone does not keep Node.js running
