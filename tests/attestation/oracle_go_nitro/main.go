// Judges Nitro attestation documents with github.com/hf/nitrite, for test_nitro_oracle.py.
//
// Each line of standard input is "seconds root document", the last two in base64 of DER and of CBOR. Each line of
// standard output is the JSON of a verdict.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hf/nitrite"
)

type verdict struct {
	Refused   string          `json:"refused"`
	ModuleID  string          `json:"module_id"`
	Timestamp uint64          `json:"timestamp"`
	PCRs      map[uint][]byte `json:"pcrs"`
	PublicKey []byte          `json:"public_key"`
	UserData  []byte          `json:"user_data"`
	Nonce     []byte          `json:"nonce"`
}

func judge(line string) (verdict, error) {
	var seconds int64
	var encodedRoot, encodedDocument string
	if _, err := fmt.Sscan(line, &seconds, &encodedRoot, &encodedDocument); err != nil {
		return verdict{}, err
	}
	der, err := base64.StdEncoding.DecodeString(encodedRoot)
	if err != nil {
		return verdict{}, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return verdict{}, err
	}
	document, err := base64.StdEncoding.DecodeString(encodedDocument)
	if err != nil {
		return verdict{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	found, err := nitrite.Verify(document, nitrite.VerifyOptions{Roots: roots, CurrentTime: time.Unix(seconds, 0)})
	if err != nil {
		return verdict{Refused: err.Error()}, nil
	}
	claims := found.Document
	return verdict{
		ModuleID:  claims.ModuleID,
		Timestamp: claims.Timestamp,
		PCRs:      claims.PCRs,
		PublicKey: claims.PublicKey,
		UserData:  claims.UserData,
		Nonce:     claims.Nonce,
	}, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	verdicts := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		found, err := judge(strings.TrimSpace(lines.Text()))
		if err == nil {
			err = verdicts.Encode(found)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
