package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/oci"
)

// An index is an index.json that is read and edited with little respect for
// what it should hold, and much for what it does: what is not changed keeps
// its bytes and its place, whoever wrote it.
type index struct {
	top     object
	entries []entry
}

type entry struct {
	raw  json.RawMessage
	desc oci.Descriptor // type, digest, size and artifact type
	name string         // "" for none
}

// Limits on what an index.json makes us remember: in 16 MiB there is no room
// for as many entries as that, unless they are not real.
const (
	maxEntries = 100_000
	maxKeys    = 10_000 // of one object
)

func newIndex() *index {
	return &index{top: object{
		{"schemaVersion", json.RawMessage("2")},
		{"mediaType", quote(oci.MediaTypeIndex)},
	}}
}

// parseIndex reads an index.json. Fields that are not known are kept, and
// manifests may be null or missing. What two readers could understand
// differently is refused with an error that wraps oci.ErrInvalid, and what has
// too many parts with one that wraps image.ErrTooLarge.
func parseIndex(b []byte) (*index, error) {
	top, err := parseObject(b, "manifests")
	if err != nil {
		return nil, err
	}
	x := &index{top: top}
	raw := top.get("manifests")
	if isNull(raw) {
		return x, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("%w: manifests: not a JSON array", oci.ErrInvalid)
	}
	for dec.More() {
		if len(x.entries) == maxEntries {
			return nil, fmt.Errorf("%w: more than %d entries", image.ErrTooLarge, maxEntries)
		}
		e, err := nextEntry(dec)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(x.entries), err)
		}
		x.entries = append(x.entries, e)
	}
	return x, nil
}

func nextEntry(dec *json.Decoder) (entry, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return entry{}, fmt.Errorf("%w: not JSON: %v", oci.ErrInvalid, err)
	}
	return parseEntry(raw)
}

func parseEntry(raw json.RawMessage) (entry, error) {
	e := entry{raw: raw}
	o, err := parseObject(raw, "mediaType", "digest", "size", "artifactType", "annotations", "platform")
	if err != nil {
		return e, err
	}
	if notes := o.get("annotations"); !isNull(notes) {
		if _, err := parseObject(notes, oci.AnnotationRefName); err != nil {
			return e, fmt.Errorf("annotations: %w", err)
		}
	}
	var d struct {
		MediaType    string            `json:"mediaType"`
		Digest       digest.Digest     `json:"digest"`
		Size         int64             `json:"size"`
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return e, fmt.Errorf("%w: %v", oci.ErrInvalid, err)
	}
	e.desc = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
	e.name = d.Annotations[oci.AnnotationRefName]
	return e, nil
}

// newEntry is the entry of d in the order that other tools write it.
func newEntry(d oci.Descriptor, name string) (entry, error) {
	d = oci.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	if name != "" {
		d.Annotations = map[string]string{oci.AnnotationRefName: name}
	}
	raw, err := encode(d)
	return entry{raw, d, name}, err
}

// is reports whether e describes what d does.
func (e entry) is(d oci.Descriptor) bool {
	return e.desc.Digest == d.Digest && e.desc.Size == d.Size && e.desc.MediaType == d.MediaType
}

// rename gives the entry a name, or takes it away for "", and leaves all
// else.
func (e entry) rename(name string) (entry, error) {
	o, err := parseObject(e.raw)
	if err != nil {
		return e, err
	}
	var notes object
	if raw := o.get("annotations"); !isNull(raw) {
		if notes, err = parseObject(raw); err != nil {
			return e, err
		}
	}
	if name == "" {
		notes = notes.without(oci.AnnotationRefName)
	} else {
		notes = notes.with(oci.AnnotationRefName, quote(name))
	}
	if len(notes) == 0 {
		o = o.without("annotations")
	} else {
		o = o.with("annotations", notes.bytes())
	}
	return parseEntry(o.bytes())
}

// named returns the place of the entry that a name stands for: the first of
// that name whose type is known. -1: none.
func (x *index) named(name string) int {
	return slices.IndexFunc(x.entries, func(e entry) bool {
		return e.name == name && oci.IsManifestType(e.desc.MediaType)
	})
}

// unnamed returns the place of the first entry for the content of d that has
// no name. -1: none.
func (x *index) unnamed(d oci.Descriptor) int {
	return slices.IndexFunc(x.entries, func(e entry) bool { return e.name == "" && e.desc.Digest == d.Digest })
}

// set makes the name stand for d, or adds d without a name, and reports
// whether that changed anything. What the name stood for stays in the index
// without a name, unless it is there without one already; an entry for d that
// has no name gets it. But where the name is one that belongs to a digest, what
// it stood for is of no use any more, and goes.
func (x *index) set(name string, d oci.Descriptor) (bool, error) {
	if name != "" {
		if i := x.named(name); i >= 0 && x.entries[i].is(d) {
			return false, nil
		}
		if oci.IsAttachedTag(name) {
			x.remove(func(e entry) bool { return e.name == name })
			return true, x.add(d, name)
		}
		if err := x.unname(name); err != nil {
			return false, err
		}
	}
	e, err := newEntry(d, name)
	if err != nil {
		return false, err
	}
	i := x.unnamed(d)
	switch {
	case i < 0:
		x.entries = append(x.entries, e)
		return true, nil
	case !x.entries[i].is(d): // it told lies
	case name == "":
		return false, nil
	default:
		if e, err = x.entries[i].rename(name); err != nil {
			return false, err
		}
	}
	x.entries[i] = e
	return true, nil
}

// add adds an entry at the end.
func (x *index) add(d oci.Descriptor, name string) error {
	e, err := newEntry(d, name)
	x.entries = append(x.entries, e)
	return err
}

// remove removes entries, and reports whether there were any.
func (x *index) remove(which func(entry) bool) bool {
	n := len(x.entries)
	x.entries = slices.DeleteFunc(x.entries, which)
	return len(x.entries) < n
}

// unname takes a name away from every entry that has it.
func (x *index) unname(name string) error {
	for i := 0; i < len(x.entries); i++ {
		e := x.entries[i]
		if e.name != name {
			continue
		}
		if x.unnamed(e.desc) >= 0 {
			x.entries = slices.Delete(x.entries, i, i+1)
			i--
			continue
		}
		e, err := e.rename("")
		if err != nil {
			return err
		}
		x.entries[i] = e
	}
	return nil
}

func (x *index) bytes() []byte {
	var list bytes.Buffer
	list.WriteByte('[')
	for i, e := range x.entries {
		if i > 0 {
			list.WriteByte(',')
		}
		list.Write(e.raw)
	}
	list.WriteByte(']')
	return x.top.with("manifests", list.Bytes()).bytes()
}

// An object is a JSON object whose members keep their order and bytes.
type object []member

type member struct {
	key string
	raw json.RawMessage
}

// parseObject reads an object. A key that stands twice is an error that wraps
// oci.ErrInvalid, and so is a known one in another case; too many keys are one
// that wraps image.ErrTooLarge.
func parseObject(b []byte, known ...string) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", oci.ErrInvalid)
	}
	var o object
	seen := map[string]bool{}
	for dec.More() {
		if len(o) == maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys in one object", image.ErrTooLarge, maxKeys)
		}
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("%w: not JSON: %v", oci.ErrInvalid, err)
		}
		if seen[key] {
			return nil, fmt.Errorf("%w: key %q stands twice in one object", oci.ErrInvalid, key)
		}
		seen[key] = true
		for _, k := range known {
			if k != key && strings.EqualFold(k, key) {
				return nil, fmt.Errorf("%w: key %q should be %q", oci.ErrInvalid, key, k)
			}
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%w: not JSON: %v", oci.ErrInvalid, err)
		}
		o = append(o, member{key, raw})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: not JSON: %v", oci.ErrInvalid, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the JSON object", oci.ErrInvalid)
	}
	return o, nil
}

func (o object) find(key string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.key == key })
}

// get returns the bytes of a value, nil if there is none.
func (o object) get(key string) json.RawMessage {
	if i := o.find(key); i >= 0 {
		return o[i].raw
	}
	return nil
}

// with returns o with a value, in the place of the one before or at the end.
func (o object) with(key string, raw json.RawMessage) object {
	o = slices.Clone(o)
	if i := o.find(key); i >= 0 {
		o[i].raw = raw
		return o
	}
	return append(o, member{key, raw})
}

func (o object) without(key string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.key == key })
}

func (o object) bytes() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(m.key))
		b.WriteByte(':')
		b.Write(m.raw)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// quote returns s as JSON; a string always can be.
func quote(s string) json.RawMessage {
	b, _ := encode(s)
	return b
}

// encode is json.Marshal without the escapes that HTML would need.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
