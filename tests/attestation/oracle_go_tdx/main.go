// Command oracle_go_tdx asks google/go-tdx-guest about quotes of version 4: one question in JSON on each line of
// standard input, and on each line of standard output what is wrong, or nothing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/verify"
)

// The library logs to standard output too; lines of answers begin with this.
const marker = "answer:"

// question is a quote, when to judge it, and Intel's collateral, or none to judge signatures and chain only.
type question struct {
	Quote      []byte      `json:"quote"`
	Now        int64       `json:"now"`
	Collateral *collateral `json:"collateral"`
}

// collateral is what Intel's service answers; documents come with their signatures, chains in PEM.
type collateral struct {
	RootCRL       []byte `json:"root_crl"`
	PCKCRL        []byte `json:"pck_crl"`
	PCKCRLChain   string `json:"pck_crl_chain"`
	TCBInfo       string `json:"tcb_info"`
	TCBInfoChain  string `json:"tcb_info_chain"`
	Identity      string `json:"qe_identity"`
	IdentityChain string `json:"qe_identity_chain"`
}

// Get answers in place of Intel's service, so that nothing is fetched.
func (c *collateral) Get(address string) (map[string][]string, []byte, error) {
	answer := func(field, chain string, body []byte) (map[string][]string, []byte, error) {
		return map[string][]string{field: {url.QueryEscape(chain)}}, body, nil
	}
	switch {
	case strings.Contains(address, "/pckcrl?"):
		return answer("Sgx-Pck-Crl-Issuer-Chain", c.PCKCRLChain, c.PCKCRL)
	case strings.Contains(address, "/tcb?"):
		return answer("Tcb-Info-Issuer-Chain", c.TCBInfoChain, []byte(c.TCBInfo))
	case strings.Contains(address, "/qe/identity"):
		return answer("Sgx-Enclave-Identity-Issuer-Chain", c.IdentityChain, []byte(c.Identity))
	case strings.HasSuffix(address, "IntelSGXRootCA.der"):
		return nil, c.RootCRL, nil
	}
	return nil, nil, fmt.Errorf("nothing at %s", address)
}

func ask(q question) error {
	options := &verify.Options{Now: time.Unix(q.Now, 0)}
	if q.Collateral != nil {
		options.Getter, options.GetCollateral, options.CheckRevocations = q.Collateral, true, true
	}
	return verify.RawTdxQuote(q.Quote, options)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			log.Fatal(err)
		}
		wrong := ""
		if err := ask(q); err != nil {
			wrong = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(marker + wrong)
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
