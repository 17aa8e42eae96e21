package oci

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// payload returns the bytes that the digest of a manifest is made from: all
// of them, but for a signed schema 1 manifest, whose signatures are taken out
// as its protected header says. A header that makes no sense changes nothing.
func payload(manifest []byte) []byte {
	var jws struct {
		Signatures []struct {
			Protected string `json:"protected"`
		} `json:"signatures"`
		SchemaVersion int `json:"schemaVersion"`
	}
	if !mayBeSigned(manifest) || json.Unmarshal(manifest, &jws) != nil || jws.SchemaVersion != 1 || len(jws.Signatures) == 0 {
		return manifest
	}
	b, err := base64.RawURLEncoding.DecodeString(jws.Signatures[0].Protected)
	if err != nil {
		return manifest
	}
	var header struct {
		FormatLength int    `json:"formatLength"`
		FormatTail   string `json:"formatTail"`
	}
	if json.Unmarshal(b, &header) != nil || header.FormatLength <= 0 || header.FormatLength > len(manifest) {
		return manifest
	}
	tail, err := base64.RawURLEncoding.DecodeString(header.FormatTail)
	if err != nil {
		return manifest
	}
	return append(append([]byte(nil), manifest[:header.FormatLength]...), tail...)
}

// mayBeSigned spares all other manifests the work of being parsed.
func mayBeSigned(manifest []byte) bool {
	return bytes.Contains(manifest, []byte(`"signatures"`))
}
