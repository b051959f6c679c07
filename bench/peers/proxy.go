// The relay that a Go team would write: net/http/httputil's ReverseProxy, with the fields that a relay may pass on.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve")
	upstream := flag.String("upstream", "", "origin of the gateway")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			kind := r.In.Header["Content-Type"]
			r.SetURL(target)
			r.Out.Header = http.Header{"Content-Type": kind, "User-Agent": nil}
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	server := &http.Server{
		Addr:              *listen,
		Handler:           http.MaxBytesHandler(proxy, 1<<20),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       75 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
