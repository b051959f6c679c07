// Package peer is what both programs share: their arguments, the choice of a key, plain HTTP, and what is answered.
package peer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
)

const (
	Keys        = "application/ohttp-keys"
	GatewayPath = "/.well-known/ohttp-gateway"
	Host        = "target.example" // of what is asked for inside

	HKDFSHA256 = 0x0001
	AES        = 0x0001
	ChaCha     = 0x0003
	X25519     = 0x0020
	XWing      = 0x647a
)

// Lengths of the public keys that a client here can use.
var npk = map[uint16]int{X25519: 32, XWing: 1216}

// Order is what a client was told to do.
type Order struct {
	URL, Path, JSON string
	Chunked         bool
	KEM, AEAD       uint16
}

// Main runs `client URL PATH JSON [--chunked] [--aead chacha] [--kem xwing]` or `gateway`.
func Main(client func(Order) error, gateway func() (http.Handler, error)) {
	log.SetFlags(0)
	var err error
	switch {
	case len(os.Args) >= 5 && os.Args[1] == "client":
		err = client(parse(os.Args[2], os.Args[3], os.Args[4], os.Args[5:]))
	case len(os.Args) == 2 && os.Args[1] == "gateway":
		err = serve(gateway)
	default:
		err = errors.New("usage: client URL PATH JSON [--chunked] [--aead chacha] [--kem xwing], or gateway")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parse(url, path, content string, rest []string) Order {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	chunked := flags.Bool("chunked", false, "send the request in chunks")
	aead := flags.String("aead", "aes", "aes or chacha")
	kem := flags.String("kem", "x25519", "x25519 or xwing")
	_ = flags.Parse(rest) // it ends the process on an error
	order := Order{URL: url, Path: path, JSON: content, Chunked: *chunked, KEM: X25519, AEAD: AES}
	if *aead == "chacha" {
		order.AEAD = ChaCha
	}
	if *kem == "xwing" {
		order.KEM = XWing
	}
	return order
}

// Key fetches the list of keys (RFC 9458, section 3.2) and returns the first bare configuration that offers what was
// ordered, with no other suite in it: both libraries use the first suite of what they are given.
func (order Order) Key() ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, order.URL, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", Keys)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	list, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || kind != Keys {
		return nil, fmt.Errorf("keys: %d, %s", response.StatusCode, kind)
	}
	head := 3 + npk[order.KEM] // key_id, kem_id and the public key
	suite := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, HKDFSHA256), order.AEAD)
	for len(list) >= 2 {
		length := int(binary.BigEndian.Uint16(list))
		if len(list) < 2+length || length < head+2 {
			return nil, errors.New("the list of keys is cut short")
		}
		entry := list[2 : 2+length]
		list = list[2+length:]
		if binary.BigEndian.Uint16(entry[1:]) != order.KEM {
			continue
		}
		for offered := range slices.Chunk(entry[head+2:], 4) {
			if string(offered) == string(suite) {
				return slices.Concat(entry[:head], []byte{0, 4}, suite), nil
			}
		}
	}
	return nil, errors.New("no key offers what was ordered")
}

// Print writes an answer as a test reads it.
func Print(response *http.Response) error {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		Status int    `json:"status"`
		Body   string `json:"body"`
	}{response.StatusCode, string(body)})
}

// Echo returns the content of the answer to a request that was read whole.
func Echo(request *http.Request) ([]byte, error) {
	content, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	slices.Reverse(content)
	return append([]byte(request.Method+" "+request.URL.RequestURI()+" "), content...), nil
}

func serve(gateway func() (http.Handler, error)) error {
	handler, err := gateway()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, handler)
}
