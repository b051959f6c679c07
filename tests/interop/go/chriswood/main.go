// An Oblivious HTTP client and gateway on github.com/chris-wood/ohttp-go, which stands under Cloudflare's gateway.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/chris-wood/ohttp-go"
	"github.com/cloudflare/circl/hpke"

	"seclude.example/interop/peer"
)

const (
	req = "message/ohttp-req"
	res = "message/ohttp-res"
)

func main() { peer.Main(client, gateway) }

func client(order peer.Order) error {
	if order.Chunked {
		return errors.New("this library has no chunked form")
	}
	key, err := order.Key()
	if err != nil {
		return err
	}
	config, err := ohttp.UnmarshalPublicConfig(key)
	if err != nil {
		return err
	}
	inner, err := http.NewRequest(http.MethodPost, "https://"+peer.Host+order.Path, strings.NewReader(order.JSON))
	if err != nil {
		return err
	}
	inner.Header.Set("Content-Type", "application/json")
	message, err := (*ohttp.BinaryRequest)(inner).Marshal()
	if err != nil {
		return err
	}
	sealed, context, err := ohttp.NewDefaultClient(config).EncapsulateRequest(message)
	if err != nil {
		return err
	}
	outer, err := http.Post(order.URL, req, bytes.NewReader(sealed.Marshal()))
	if err != nil {
		return err
	}
	defer outer.Body.Close()
	body, err := io.ReadAll(outer.Body)
	if err != nil {
		return err
	}
	if kind := outer.Header.Get("Content-Type"); outer.StatusCode != http.StatusOK || kind != res {
		return fmt.Errorf("outer answer: %d, %s", outer.StatusCode, kind)
	}
	encapsulated, err := ohttp.UnmarshalEncapsulatedResponse(body)
	if err != nil {
		return err
	}
	opened, err := context.DecapsulateResponse(encapsulated)
	if err != nil {
		return err
	}
	answer, err := ohttp.UnmarshalBinaryResponse(opened)
	if err != nil {
		return err
	}
	return peer.Print(answer)
}

// gateway lists an obsolete Kyber configuration first, as Cloudflare's does. The library gives a key one suite only.
func gateway() (http.Handler, error) {
	var configs []ohttp.PrivateConfig
	for id, suite := range []struct {
		kem  hpke.KEM
		aead hpke.AEAD
	}{
		{hpke.KEM_X25519_KYBER768_DRAFT00, hpke.AEAD_AES128GCM},
		{hpke.KEM_X25519_HKDF_SHA256, hpke.AEAD_AES128GCM},
		{hpke.KEM_X25519_HKDF_SHA256, hpke.AEAD_ChaCha20Poly1305},
	} {
		config, err := ohttp.NewConfig(uint8(id), suite.kem, hpke.KDF_HKDF_SHA256, suite.aead)
		if err != nil {
			return nil, err
		}
		configs = append(configs, config)
	}
	held := ohttp.NewDefaultGateway(configs)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+peer.GatewayPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", peer.Keys)
		w.Write(held.MarshalConfigs())
	})
	mux.HandleFunc("POST "+peer.GatewayPath, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != req {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		sealed, err := answer(held, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", res)
		w.Write(sealed)
	})
	return mux, nil
}

func answer(held ohttp.Gateway, body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	encapsulated, err := ohttp.UnmarshalEncapsulatedRequest(data)
	if err != nil {
		return nil, err
	}
	message, context, err := held.DecapsulateRequest(encapsulated)
	if err != nil {
		return nil, err
	}
	request, err := ohttp.UnmarshalBinaryRequest(message)
	if err != nil {
		return nil, err
	}
	content, err := peer.Echo(request)
	if err != nil {
		return nil, err
	}
	response := ohttp.CreateBinaryResponse(&http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"text/plain"}},
		Body:       io.NopCloser(bytes.NewReader(content)),
	})
	message, err = response.Marshal()
	if err != nil {
		return nil, err
	}
	sealed, err := context.EncapsulateResponse(message)
	if err != nil {
		return nil, err
	}
	return sealed.Marshal(), nil
}
