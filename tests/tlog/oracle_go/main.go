// A second opinion on logs: golang.org/x/mod/sumdb (notes, trees, tiles), filippo.io/torchwood (checkpoints,
// cosignatures, policies, proofs) and filippo.io/mldsa (ML-DSA-44) make and judge what seclude/tlog makes and judges.
// Each line of the standard input is a request in JSON, each line of the standard output its answer.
package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type request struct {
	Do        string
	Keys      []string
	Policy    string
	Name      string
	Text      string
	Note      []byte
	Entry     []byte
	Proof     []byte
	Hashes    [][]byte
	Index     int64
	First     int64
	Size      int64
	FirstRoot []byte
	Root      []byte
	Folder    string
	Seed      []byte
	Public    []byte
	Signature []byte
	Timestamp uint64
	Path      string
}

type answer struct {
	Error     string   `json:",omitempty"`
	Text      string   `json:",omitempty"`
	Names     []string `json:",omitempty"`
	Key       string   `json:",omitempty"`
	Secret    string   `json:",omitempty"`
	Data      []byte   `json:",omitempty"`
	Hashes    [][]byte `json:",omitempty"`
	Timestamp int64    `json:",omitempty"`
	Tile      []int64  `json:",omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		said, err := serve(asked)
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := out.Encode(said); err != nil {
			panic(err)
		}
	}
}

func serve(asked request) (answer, error) {
	switch asked.Do {
	case "open":
		return open(asked)
	case "sign":
		return sign(asked)
	case "cosign":
		return cosign(asked)
	case "policy":
		policy, err := torchwood.ParsePolicy([]byte(asked.Policy))
		if err != nil {
			return answer{}, err
		}
		checkpoint, _, err := torchwood.VerifyCheckpoint(asked.Note, policy)
		return answer{Text: checkpoint.String()}, err
	case "proof":
		policy, err := torchwood.ParsePolicy([]byte(asked.Policy))
		if err != nil {
			return answer{}, err
		}
		return answer{}, torchwood.VerifyProof(policy, tlog.RecordHash(asked.Entry), asked.Proof)
	case "write proof":
		return answer{Data: torchwood.FormatProof(asked.Index, tlog.RecordProof(hashes(asked.Hashes)), asked.Note)}, nil
	case "check record":
		return answer{}, tlog.CheckRecord(tlog.RecordProof(hashes(asked.Hashes)), asked.Size, hash(asked.Root), asked.Index, hash(asked.Entry))
	case "check tree":
		return answer{}, tlog.CheckTree(hashes(asked.Hashes), asked.Size, hash(asked.Root), asked.First, hash(asked.FirstRoot))
	case "read tiles":
		return readTiles(asked)
	case "write tiles":
		return writeTiles(asked)
	case "tile path":
		tile, err := torchwood.ParseTilePath(asked.Path)
		return answer{Tile: []int64{int64(tile.L), tile.N, int64(tile.W)}}, err
	case "mldsa sign":
		return mldsaSign(asked)
	case "mldsa verify":
		return mldsaVerify(asked)
	}
	return answer{}, fmt.Errorf("no request %q", asked.Do)
}

// open verifies a note under any of the keys, of type 0x01 or 0x04.
func open(asked request) (answer, error) {
	var known []note.Verifier
	for _, key := range asked.Keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			verifier, err = torchwood.NewCosignatureVerifier(key)
		}
		if err != nil {
			return answer{}, err
		}
		known = append(known, verifier)
	}
	opened, err := note.Open(asked.Note, note.VerifierList(known...))
	if err != nil {
		return answer{}, err
	}
	said := answer{Text: opened.Text}
	for _, signature := range opened.Sigs {
		said.Names = append(said.Names, signature.Name)
	}
	return said, nil
}

// sign makes a key and signs a text with it.
func sign(asked request) (answer, error) {
	secret, key, err := note.GenerateKey(rand.Reader, asked.Name)
	if err != nil {
		return answer{}, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return answer{}, err
	}
	signed, err := note.Sign(&note.Note{Text: asked.Text}, signer)
	return answer{Key: key, Secret: secret, Data: signed}, err
}

// cosign makes a witness's Ed25519 key and adds its cosignature to a checkpoint, whose log it knows.
func cosign(asked request) (answer, error) {
	verifier, err := note.NewVerifier(asked.Keys[0])
	if err != nil {
		return answer{}, err
	}
	opened, err := note.Open(asked.Note, note.VerifierList(verifier))
	if err != nil {
		return answer{}, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return answer{}, err
	}
	signer, err := torchwood.NewCosignatureSigner(asked.Name, private)
	if err != nil {
		return answer{}, err
	}
	signed, err := note.Sign(opened, signer)
	if err != nil {
		return answer{}, err
	}
	both, err := note.Open(signed, note.VerifierList(verifier, signer.Verifier()))
	if err != nil {
		return answer{}, err
	}
	timestamp, err := torchwood.CosignatureTimestamp(both.Sigs[len(both.Sigs)-1])
	return answer{Key: signer.Verifier().String(), Data: signed, Timestamp: timestamp}, err
}

// files reads the tiles of a log below a folder, as they would be fetched.
type files struct{ folder string }

func (f files) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		read, err := os.ReadFile(filepath.Join(f.folder, torchwood.TilePath(tile)))
		if err != nil {
			return nil, err
		}
		data = append(data, read)
	}
	return data, nil
}

func (f files) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(f.folder, path))
}

func (f files) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

// readTiles makes both proofs from tiles, which it authenticates against the root first, and reads an entry.
func readTiles(asked request) (answer, error) {
	ctx := context.Background()
	tree := tlog.Tree{N: asked.Size, Hash: hash(asked.Root)}
	reader := torchwood.TileHashReaderWithContext(ctx, tree, files{asked.Folder})
	record, err := tlog.ProveRecord(tree.N, asked.Index, reader)
	if err != nil {
		return answer{}, err
	}
	consistent, err := tlog.ProveTree(tree.N, asked.First, reader)
	if err != nil {
		return answer{}, err
	}
	client, err := torchwood.NewClient(files{asked.Folder})
	if err != nil {
		return answer{}, err
	}
	entry, _, err := client.Entry(ctx, tree, asked.Index)
	return answer{Data: entry, Hashes: append(octets(tlog.TreeProof(record)), octets(consistent)...)}, err
}

// writeTiles makes a log of entries that are their own numbers, and writes its hash tiles and entry bundles.
func writeTiles(asked request) (answer, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	bundles := map[int64][]byte{}
	for index := int64(0); index < asked.Size; index++ {
		entry := []byte(fmt.Sprintf("entry %d", index))
		added, err := tlog.StoredHashes(index, entry, reader)
		if err != nil {
			return answer{}, err
		}
		stored = append(stored, added...)
		bundle, err := torchwood.AppendTileEntry(bundles[index/torchwood.TileWidth], entry)
		if err != nil {
			return answer{}, err
		}
		bundles[index/torchwood.TileWidth] = bundle
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, asked.Size) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return answer{}, err
		}
		if err := write(asked.Folder, torchwood.TilePath(tile), data); err != nil {
			return answer{}, err
		}
		if tile.L == 0 {
			tile.L = -1
			if err := write(asked.Folder, torchwood.TilePath(tile), bundles[tile.N]); err != nil {
				return answer{}, err
			}
		}
	}
	root, err := tlog.TreeHash(asked.Size, reader)
	if err != nil {
		return answer{}, err
	}
	record, err := tlog.ProveRecord(asked.Size, asked.Index, reader)
	if err != nil {
		return answer{}, err
	}
	consistent, err := tlog.ProveTree(asked.Size, asked.First, reader)
	return answer{Data: root[:], Hashes: append(octets(tlog.TreeProof(record)), octets(consistent)...)}, err
}

func write(folder, path string, data []byte) error {
	name := filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// subtree is the cosigned_message of C2SP tlog-cosignature, for the whole tree of a checkpoint.
func subtree(name string, timestamp uint64, text string) ([]byte, error) {
	checkpoint, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return nil, err
	}
	message := append([]byte("subtree/v1\n\x00"), byte(len(name)))
	message = append(message, name...)
	message = binary.BigEndian.AppendUint64(message, timestamp)
	message = append(message, byte(len(checkpoint.Origin)))
	message = append(message, checkpoint.Origin...)
	message = binary.BigEndian.AppendUint64(message, 0)
	message = binary.BigEndian.AppendUint64(message, uint64(checkpoint.N))
	return append(message, checkpoint.Hash[:]...), nil
}

func mldsaSign(asked request) (answer, error) {
	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), asked.Seed)
	if err != nil {
		return answer{}, err
	}
	message, err := subtree(asked.Name, asked.Timestamp, asked.Text)
	if err != nil {
		return answer{}, err
	}
	signature, err := private.Sign(nil, message, nil)
	return answer{Data: signature, Hashes: [][]byte{private.PublicKey().Bytes()}}, err
}

func mldsaVerify(asked request) (answer, error) {
	public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), asked.Public)
	if err != nil {
		return answer{}, err
	}
	if len(asked.Signature) < 8 {
		return answer{}, errors.New("no timestamp")
	}
	message, err := subtree(asked.Name, binary.BigEndian.Uint64(asked.Signature), asked.Text)
	if err != nil {
		return answer{}, err
	}
	return answer{}, mldsa.Verify(public, message, asked.Signature[8:], nil)
}

func hash(data []byte) tlog.Hash {
	var hashed tlog.Hash
	copy(hashed[:], data)
	return hashed
}

func hashes(data [][]byte) tlog.TreeProof {
	var proof tlog.TreeProof
	for _, item := range data {
		proof = append(proof, hash(item))
	}
	return proof
}

func octets(proof tlog.TreeProof) [][]byte {
	var data [][]byte
	for _, item := range proof {
		data = append(data, append([]byte(nil), item[:]...))
	}
	return data
}
