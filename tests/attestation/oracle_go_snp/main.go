// Judges SEV-SNP reports with github.com/google/go-sev-guest, for test_snp_oracle.py: certificates, revocation list and
// signature, and nothing of what a policy decides.
//
// Each line of standard input is "seconds product ark ask vcek crl report", the last five in base64. The root is the one
// to trust. Each line of standard output is the JSON of a verdict.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
	"github.com/google/logger"
)

type verdict struct {
	Refused     string `json:"refused"`
	Version     uint32 `json:"version"`
	Policy      uint64 `json:"policy"`
	Vmpl        uint32 `json:"vmpl"`
	Measurement []byte `json:"measurement"`
	ReportData  []byte `json:"report_data"`
	ChipID      []byte `json:"chip_id"`
}

// list is what a "fetch" of the revocation list returns: nothing here goes to a network.
type list []byte

func (l list) Get(string) ([]byte, error) { return l, nil }

func refuse(err error) (verdict, error) { return verdict{Refused: err.Error()}, nil }

func judge(line string) (verdict, error) {
	var seconds int64
	var product string
	encoded := make([]string, 5)
	if _, err := fmt.Sscan(line, &seconds, &product, &encoded[0], &encoded[1], &encoded[2], &encoded[3], &encoded[4]); err != nil {
		return verdict{}, err
	}
	parts := make([][]byte, len(encoded))
	for i, text := range encoded {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(text); err != nil {
			return verdict{}, err
		}
	}
	ark, err := x509.ParseCertificate(parts[0])
	if err != nil {
		return verdict{}, err
	}
	ask, err := x509.ParseCertificate(parts[1])
	if err != nil {
		return refuse(err)
	}
	report, err := abi.ReportToProto(parts[4])
	if err != nil {
		return refuse(err)
	}
	options := &verify.Options{
		CheckRevocations:    true,
		DisableCertFetching: true,
		Getter:              list(parts[3]),
		Now:                 time.Unix(seconds, 0),
		TrustedRoots: map[string][]*trust.AMDRootCerts{
			product: {{ProductLine: product, ProductCerts: &trust.ProductCerts{Ask: ask, Ark: ark}}},
		},
	}
	chain := &sevsnp.CertificateChain{VcekCert: parts[2]}
	if err := verify.SnpAttestation(&sevsnp.Attestation{Report: report, CertificateChain: chain}, options); err != nil {
		return refuse(err)
	}
	return verdict{
		Version:     report.GetVersion(),
		Policy:      report.GetPolicy(),
		Vmpl:        report.GetVmpl(),
		Measurement: report.GetMeasurement(),
		ReportData:  report.GetReportData(),
		ChipID:      report.GetChipId(),
	}, nil
}

func main() {
	logger.Init("oracle", false, false, io.Discard)
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
