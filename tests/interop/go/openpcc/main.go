// An Oblivious HTTP client and gateway on github.com/openpcc/ohttp, whole and chunked.
package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/cloudflare/circl/hpke"
	"github.com/openpcc/ohttp"
	"github.com/openpcc/ohttp/encoding/bhttp"
	"github.com/openpcc/twoway"

	"seclude.example/interop/peer"
)

const (
	piece    = 100     // octets of a chunk, so that even a small message has several
	maxChunk = 1 << 14 // octets of a chunk that everyone must take; left to itself, this gateway takes 4096

	defaultsPath = "/defaults" // the gateway as the library makes it, for a handler that does nothing about the form
)

func main() { peer.Main(client, gateway) }

func client(order peer.Order) error {
	key, err := order.Key()
	if err != nil {
		return err
	}
	var config ohttp.KeyConfig
	if err := config.UnmarshalBinary(key); err != nil {
		return err
	}
	encoder, err := bhttp.NewRequestEncoder(bhttp.MaxRequestChunkLen(piece))
	if err != nil {
		return err
	}
	transport, err := ohttp.NewTransport(config, order.URL, ohttp.WithRequestEncoder(encoder))
	if err != nil {
		return err
	}
	var content io.Reader = strings.NewReader(order.JSON)
	if order.Chunked {
		content = io.MultiReader(content) // a body of a length that is not known: the library takes the chunked form
	}
	inner, err := http.NewRequest(http.MethodPost, "https://"+peer.Host+order.Path, content)
	if err != nil {
		return err
	}
	inner.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Transport: transport}).Do(inner)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return peer.Print(answer)
}

// pairs finds the secret key that a request's header names.
type pairs []ohttp.KeyPair

func (held pairs) FindSecretKey(ctx context.Context, header twoway.RequestHeader) (ohttp.SecretKeyInfo, error) {
	err := errors.New("no keys")
	for _, pair := range held {
		var found ohttp.SecretKeyInfo
		if found, err = pair.FindSecretKey(ctx, header); err == nil {
			return found, nil
		}
	}
	return ohttp.SecretKeyInfo{}, err
}

func gateway() (http.Handler, error) {
	var held pairs
	var configs ohttp.KeyConfigs
	for id, kem := range []hpke.KEM{hpke.KEM_XWING, hpke.KEM_X25519_HKDF_SHA256} {
		public, secret, err := kem.Scheme().GenerateKeyPair()
		if err != nil {
			return nil, err
		}
		config := ohttp.KeyConfig{KeyID: byte(id), KemID: kem, PublicKey: public, SymmetricAlgorithms: []ohttp.SymmetricAlgorithm{
			{KDFID: hpke.KDF_HKDF_SHA256, AEADID: hpke.AEAD_AES128GCM},
			{KDFID: hpke.KDF_HKDF_SHA256, AEADID: hpke.AEAD_ChaCha20Poly1305},
		}}
		held = append(held, ohttp.KeyPair{SecretKey: secret, KeyConfig: config})
		configs = append(configs, config)
	}
	list, err := configs.MarshalBinary()
	if err != nil {
		return nil, err
	}
	decoder, err := bhttp.NewRequestDecoder(bhttp.MaxRequestChunkLen(maxChunk))
	if err != nil {
		return nil, err
	}
	hosts := ohttp.NewHostnameAllowlist(peer.Host)
	ours, err := ohttp.NewGateway(held, ohttp.WithRequestDecoder(decoder), ohttp.WithRequestValidator(hosts))
	if err != nil {
		return nil, err
	}
	defaults, err := ohttp.NewGateway(held)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+peer.GatewayPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", peer.Keys)
		w.Write(list)
	})
	mux.Handle("POST "+peer.GatewayPath, sameForm(ohttp.Middleware(ours, http.HandlerFunc(echo))))
	mux.Handle("POST "+defaultsPath, ohttp.Middleware(defaults, http.HandlerFunc(echo)))
	return mux, nil
}

type chunkedKey struct{}

// sameForm lets echo see whether the request came in chunks, for the answer must then come in chunks, and only then
// (draft-ietf-ohai-chunked-ohttp-08, section 3). The library itself looks at the length of the answer alone.
func sameForm(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunked := r.Header.Get("Content-Type") == ohttp.ChunkedRequestMediaType
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chunkedKey{}, chunked)))
	})
}

func echo(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	content, err := peer.Echo(r)
	if err != nil {
		status, content = http.StatusBadRequest, []byte(err.Error())
	}
	w.Header().Set("Content-Type", "text/plain")
	chunked, known := r.Context().Value(chunkedKey{}).(bool)
	if known && !chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.WriteHeader(status)
	if chunked {
		w.(http.Flusher).Flush()
	}
	w.Write(content)
}
