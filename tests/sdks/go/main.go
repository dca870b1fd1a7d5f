// The official Go SDK as a program that obeys its standard input (the language is told in kit/sdk_program.py).
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"golang.ngrok.com/ngrok/v2"
	"golang.ngrok.com/ngrok/v2/rpc"
)

type options struct {
	To                string
	Proto             string
	Domain            string
	Scheme            string
	Address           string
	Crt               string
	Key               string
	ProxyProto        string `json:"proxy_proto"`
	AppProtocol       string `json:"app_protocol"`
	Pooling           bool
	VerifyUpstreamTLS *bool  `json:"verify_upstream_tls"`
	TrafficPolicy     string `json:"traffic_policy"`
}

var (
	mutex     sync.Mutex
	commands  = []string{}
	agent     ngrok.Agent
	forwarded []ngrok.EndpointForwarder
)

// connect begins the session. The SDK itself tries again for ever where the edge refuses it, and tells why in an event.
func connect(target map[string]string) (ngrok.Agent, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var connected bool
	agent, err := newAgent(target, func(event ngrok.Event) {
		mutex.Lock()
		defer mutex.Unlock()
		switch happened := event.(type) {
		case *ngrok.EventAgentConnectSucceeded:
			connected = true
		case *ngrok.EventAgentDisconnected:
			if !connected && happened.Error != nil {
				cancel()
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return agent, agent.Connect(ctx)
}

func newAgent(target map[string]string, events ngrok.EventHandler) (ngrok.Agent, error) {
	pem, err := os.ReadFile(target["ca"])
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	names := map[string]string{
		rpc.StopAgentMethod: "stop", rpc.RestartAgentMethod: "restart", rpc.UpdateAgentMethod: "update",
	}
	return ngrok.NewAgent(
		ngrok.WithAuthtoken(target["authtoken"]),
		ngrok.WithAgentConnectURL(target["server"]),
		ngrok.WithAgentConnectCAs(roots),
		ngrok.WithAutoConnect(false),
		ngrok.WithEventHandler(events),
		ngrok.WithMultiLeg(os.Getenv("MULTI_LEG") != ""),
		ngrok.WithRPCHandler(func(_ context.Context, _ ngrok.AgentSession, request rpc.Request) ([]byte, error) {
			mutex.Lock()
			defer mutex.Unlock()
			commands = append(commands, names[request.Method()])
			return nil, nil
		}),
	)
}

func url(wanted options) string {
	switch wanted.Proto {
	case "tcp":
		return "tcp://" + wanted.Address
	case "tls":
		return "tls://" + wanted.Domain
	}
	if wanted.Scheme == "HTTP" {
		return "http://" + wanted.Domain
	}
	if wanted.Domain == "" {
		return ""
	}
	return "https://" + wanted.Domain
}

func forward(wanted options) (any, error) {
	upstream := []ngrok.UpstreamOption{}
	if wanted.AppProtocol != "" {
		upstream = append(upstream, ngrok.WithUpstreamProtocol(wanted.AppProtocol))
	}
	if wanted.ProxyProto != "" {
		upstream = append(upstream, ngrok.WithUpstreamProxyProto(ngrok.ProxyProtoVersion("v"+wanted.ProxyProto)))
	}
	if wanted.VerifyUpstreamTLS != nil && !*wanted.VerifyUpstreamTLS {
		upstream = append(upstream, ngrok.WithUpstreamTLSClientConfig(&tls.Config{InsecureSkipVerify: true}))
	}
	endpoint := []ngrok.EndpointOption{ngrok.WithURL(url(wanted)), ngrok.WithPoolingEnabled(wanted.Pooling)}
	if wanted.TrafficPolicy != "" {
		endpoint = append(endpoint, ngrok.WithTrafficPolicy(wanted.TrafficPolicy))
	}
	if wanted.Crt != "" {
		pair, err := tls.X509KeyPair([]byte(wanted.Crt), []byte(wanted.Key))
		if err != nil {
			return nil, err
		}
		endpoint = append(endpoint, ngrok.WithAgentTLSTermination(&tls.Config{Certificates: []tls.Certificate{pair}}))
	}
	made, err := agent.Forward(context.Background(), ngrok.WithUpstream(wanted.To, upstream...), endpoint...)
	if err != nil {
		return nil, err
	}
	forwarded = append(forwarded, made)
	return []any{len(forwarded) - 1, made.URL().String()}, nil
}

func obey(target map[string]string, line []byte) (any, error) {
	var command []json.RawMessage
	var verb string
	if err := json.Unmarshal(line, &command); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(command[0], &verb); err != nil {
		return nil, err
	}
	switch verb {
	case "forward":
		var wanted options
		if err := json.Unmarshal(command[1], &wanted); err != nil {
			return nil, err
		}
		if agent == nil {
			made, err := connect(target)
			if err != nil {
				return nil, err
			}
			agent = made
		}
		return forward(wanted)
	case "close":
		var number int
		if err := json.Unmarshal(command[1], &number); err != nil {
			return nil, err
		}
		return nil, forwarded[number].Close()
	case "update":
		var wanted options
		if err := json.Unmarshal(command[2], &wanted); err != nil {
			return nil, err
		}
		var number int
		if err := json.Unmarshal(command[1], &number); err != nil {
			return nil, err
		}
		live, able := forwarded[number].(ngrok.UpdateableEndpointForwarder)
		if !able {
			return nil, errors.New("the endpoint cannot be updated")
		}
		return nil, live.Update(context.Background(), nil, nil, nil, &wanted.Pooling, &wanted.TrafficPolicy)
	case "commands":
		mutex.Lock()
		defer mutex.Unlock()
		return append([]string{}, commands...), nil
	}
	return nil, errors.New("unknown verb " + verb)
}

func main() {
	var target map[string]string
	if err := json.Unmarshal([]byte(os.Args[1]), &target); err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := map[string]any{}
		if result, err := obey(target, lines.Bytes()); err != nil {
			var known ngrok.Error
			answer["error"], answer["code"] = err.Error(), ""
			if errors.As(err, &known) {
				answer["code"] = known.Code()
			}
		} else {
			answer["result"] = result
		}
		if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
			panic(err)
		}
	}
}
