// The Go functions of ngrok's pages on TLS termination and mutual TLS, written for version 1 of its Go SDK.
//
// `snippets CASE` runs one of the four, prints the URL, and serves visitors. Only what is one's own differs from the
// pages: the edge (server, ca), the domain and the files.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"golang.ngrok.com/ngrok"
	"golang.ngrok.com/ngrok/config"
)

var (
	server      = ngrok.WithServer(os.Getenv("PORTICO_CONNECT_URL"))
	ca          = ngrok.WithCA(authorities(os.Getenv("PORTICO_CONNECT_CAS")))
	domain      = os.Getenv("DOMAIN")
	certificate = os.Getenv("CRT")
	key         = os.Getenv("KEY")
	cas         = os.Getenv("CAS")
)

func atUpstream(ctx context.Context) (net.Listener, error) {
	return ngrok.Listen(ctx,
		config.TLSEndpoint(
			config.WithDomain(domain),
		),
		ngrok.WithAuthtokenFromEnv(), server, ca,
	)
}

func atEdge(ctx context.Context) (net.Listener, error) {
	return ngrok.Listen(ctx,
		config.TLSEndpoint(
			config.WithTLSTermination(
				config.WithTLSTerminationAt(config.TLSAtEdge),
			),
		),
		ngrok.WithAuthtokenFromEnv(), server, ca,
	)
}

func ownCertificate(ctx context.Context) (net.Listener, error) {
	certBytes, _ := os.ReadFile(certificate)
	keyBytes, _ := os.ReadFile(key)
	return ngrok.Listen(ctx,
		config.TLSEndpoint(
			config.WithDomain(domain),
			config.WithTLSTermination(
				config.WithTLSTerminationAt(config.TLSAtEdge),
				config.WithTLSTerminationKeyPair(certBytes, keyBytes),
			),
		),
		ngrok.WithAuthtokenFromEnv(), server, ca,
	)
}

func mutualTLS(ctx context.Context) (net.Listener, error) {
	caBytes, _ := os.ReadFile(cas)
	der, _ := pem.Decode(caBytes)
	certs, _ := x509.ParseCertificates(der.Bytes)
	return ngrok.Listen(ctx,
		config.TLSEndpoint(
			config.WithDomain(domain),
			config.WithTLSTermination(
				config.WithTLSTerminationAt(config.TLSAtEdge),
			),
			config.WithMutualTLSCA(certs...),
		),
		ngrok.WithAuthtokenFromEnv(), server, ca,
	)
}

func main() {
	listen := map[string]func(context.Context) (net.Listener, error){
		"upstream": atUpstream, "edge": atEdge, "own-certificate": ownCertificate, "mutual-tls": mutualTLS,
	}[os.Args[1]]
	listener, err := listen(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Ingress established at:", listener.(ngrok.Tunnel).URL())
	if os.Args[1] == "upstream" {
		listener = tls.NewListener(listener, endsTLS())
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(answer, "served %s\n", request.URL.Path)
	})))
}

func endsTLS() *tls.Config {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func authorities(file string) *x509.CertPool {
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}
