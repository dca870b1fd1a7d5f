// The official JavaScript SDK as a program that obeys its standard input (the language is told in kit/sdk_program.py).
import { createInterface } from "node:readline";
import ngrok from "@ngrok/ngrok";

const target = JSON.parse(process.argv[2]);
const bytes = (text) => new TextEncoder().encode(text);
const commands = [];
const listeners = [];
let session = null;

async function connect() {
  const builder = new ngrok.SessionBuilder();
  builder.authtoken(target.authtoken).serverAddr(target.server).rootCas(target.ca);
  builder.handleStopCommand(() => commands.push("stop"));
  builder.handleRestartCommand(() => commands.push("restart"));
  builder.handleUpdateCommand((update) => commands.push(`update ${update.version}`));
  return builder.connect();
}

function endpoint(options) {
  const proto = options.proto ?? "http";
  const made = {
    http: () => session.httpEndpoint(),
    tcp: () => session.tcpEndpoint(),
    tls: () => session.tlsEndpoint(),
    labeled: () => session.labeledListener(),
  }[proto]();
  for (const [name, value] of Object.entries(options.labels ?? {})) made.label(name, value);
  const plain = {
    domain: "domain", scheme: "scheme", proxy_proto: "proxyProto", app_protocol: "appProtocol", address: "remoteAddr",
    pooling: "poolingEnabled", verify_upstream_tls: "verifyUpstreamTls", traffic_policy: "trafficPolicy",
  };
  for (const [name, method] of Object.entries(plain)) if (name in options) made[method](options[name]);
  if ("host_header" in options) made.requestHeader("host", options.host_header);
  for (const [name, ...given] of options.calls ?? []) made[name.replace(/_(.)/g, (_, one) => one.toUpperCase())](...given);
  if ("crt" in options) made.termination(bytes(options.crt), bytes(options.key));
  if (options.automatic) made.termination(bytes(""), bytes(""));
  if ("mutual_tls_cas" in options) made.mutualTlsca(bytes(options.mutual_tls_cas));
  return made;
}

const verbs = {
  async forward(options) {
    session ??= await connect();
    listeners.push(await endpoint(options).listenAndForward(options.to));
    return [listeners.length - 1, listeners.at(-1).url() ?? ""];
  },
  async close(number) {
    await listeners[number].close();
    return null;
  },
  async commands() {
    return commands;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...rest] = JSON.parse(line);
  let answer;
  try {
    answer = { result: await verbs[verb](...rest) };
  } catch (error) {
    // `listenAndForward` (1.7.0) tells the code in the text alone; `forward` and `listen` set `errorCode` too.
    const code = error.errorCode ?? /error_code: (ERR_NGROK_\d+)/.exec(error.message)?.[1] ?? "";
    answer = { error: error.message, code };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
