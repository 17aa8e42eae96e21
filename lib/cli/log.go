package cli

import (
	"context"
	"log/slog"
	"strings"
)

// lineHandler writes log records as lines of talk: "debug: text key=value".
type lineHandler struct {
	std    *IO
	prefix string // of keys: the open groups
	attrs  string // already written
}

// Enabled is true: who sets Log wants to see all of it.
func (h *lineHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes the record.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(levelName(r.Level) + ": " + r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	h.std.talk(oneLine(b.String()))
	return nil
}

// WithAttrs returns a handler that writes attrs with each record.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	return &lineHandler{std: h.std, prefix: h.prefix, attrs: b.String()}
}

// WithGroup returns a handler that puts name before the keys that follow.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &lineHandler{std: h.std, prefix: h.prefix + name + ".", attrs: h.attrs}
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			writeAttr(b, prefix, g)
		}
		return
	}
	if a.Key != "" {
		b.WriteString(" " + prefix + a.Key + "=" + v.String())
	}
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warning"
	}
	return "error"
}
