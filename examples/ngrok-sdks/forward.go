// Give http://localhost:8080 a public URL on your own edge, with ngrok's Go SDK.
package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"os"

	"golang.ngrok.com/ngrok/v2"
)

func main() {
	pem, err := os.ReadFile(os.Getenv("PORTICO_CONNECT_CAS"))
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	agent, err := ngrok.NewAgent(
		ngrok.WithAuthtoken(os.Getenv("PORTICO_AUTHTOKEN")),
		ngrok.WithAgentConnectURL(os.Getenv("PORTICO_CONNECT_URL")),
		ngrok.WithAgentConnectCAs(roots),
	)
	if err != nil {
		log.Fatal(err)
	}
	upstream := cmp.Or(os.Getenv("UPSTREAM"), "localhost:8080")
	forwarder, err := agent.Forward(context.Background(), ngrok.WithUpstream("http://"+upstream))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(forwarder.URL())
	<-forwarder.Done()
}
