-- wrk sends the name of the URL as Host and SNI; the connection goes to VISIT_ADDRESS, whatever that name resolves to.
function wrk.resolve(_, service)
   wrk.addrs = wrk.lookup(os.getenv("VISIT_ADDRESS"), service)
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "refused": %d, "failed": %d, "p50": %.3f, "p99": %.3f}\n',
      summary.requests, summary.duration / 1e6, errors.connect,
      errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
