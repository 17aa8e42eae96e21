package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// maxSecret is how many bytes are read of a credential from a file descriptor.
const maxSecret = 64 << 10

// A Lookup finds the credential of a repository, as Finder.Find does.
type Lookup func(ctx context.Context, repository string) (Credential, error)

// Lookup returns what answers for the command line: its credential, or what
// its file descriptor or command has, or, if it says nothing, otherwise. The
// descriptor is read, and the command run for a registry, once, when first
// asked for. The result may be used by several goroutines.
//
// Errors are those of Credential, and about a file descriptor that is not open
// or a command that is none.
func (e Explicit) Lookup(otherwise Lookup) (Lookup, error) {
	c, given, err := e.Credential()
	switch {
	case err != nil:
		return nil, err
	case given:
		return func(context.Context, string) (Credential, error) { return c, nil }, nil
	case e.FD != nil:
		fd := *e.FD
		if err := checkFD(fd); err != nil {
			return nil, err
		}
		var once sync.Once
		return func(ctx context.Context, _ string) (Credential, error) {
			// Also if ctx ends: who reads it again might get half a secret.
			once.Do(func() { c, err = FromFD(ctx, fd) })
			return c, err
		}, nil
	case e.Command != nil:
		command := *e.Command
		if _, err := splitCommand(command); err != nil {
			return nil, err
		}
		return remembering(func(ctx context.Context, host string) (Credential, error) { return FromCommand(ctx, command, host) }), nil
	}
	return otherwise, nil
}

// remembering makes a Lookup of find, which is called once for each host, and
// again only if it was not given the time.
func remembering(find Lookup) Lookup {
	var mu sync.Mutex
	type answer struct {
		c   Credential
		err error
	}
	known := map[string]answer{}
	return func(ctx context.Context, repository string) (Credential, error) {
		mu.Lock()
		defer mu.Unlock()
		host, _, _ := strings.Cut(repository, "/")
		a, ok := known[host]
		if !ok {
			a.c, a.err = find(ctx, host)
			if a.err == nil || ctx.Err() == nil {
				known[host] = a
			}
		}
		return a.c, a.err
	}
}

// checkFD makes sure that the number is that of a file that was handed to us,
// and not of one that the runtime uses for itself. Programs that are started
// do not get it.
func checkFD(fd int) error {
	var stat syscall.Stat_t
	if fd < 0 {
		return fmt.Errorf("file descriptor %d: %w", fd, syscall.EBADF)
	}
	if err := syscall.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("file descriptor %d: %w", fd, err)
	}
	switch stat.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFIFO, syscall.S_IFSOCK, syscall.S_IFCHR:
		syscall.CloseOnExec(fd)
		return nil
	}
	return fmt.Errorf("file descriptor %d: %w", fd, syscall.EBADF)
}

// FromFD reads a credential from an open file descriptor, to its end: USER:PASSWORD or a JSON object with Username and Secret, as
// credential helpers write it, in at most 64 KiB. One line end behind it does
// not count. The descriptor stays open: if its number were free, whoever reads
// it a second time would read what the program has opened since. The error may
// be that of ctx; what is read is not in it.
func FromFD(ctx context.Context, fd int) (Credential, error) {
	if err := checkFD(fd); err != nil {
		return Credential{}, err
	}
	own, err := duplicate(fd)
	if err != nil {
		return Credential{}, fmt.Errorf("file descriptor %d: %w", fd, err)
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // a read of a pipe can not be called back
		f := os.NewFile(uintptr(own), "file descriptor "+strconv.Itoa(fd))
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	case r := <-done:
		if r.err == nil && len(r.data) > maxSecret {
			r.err = fmt.Errorf("more than %d bytes", maxSecret)
		}
		c, err := Credential{}, r.err
		if err == nil {
			c, err = parseSecret(r.data)
		}
		if err != nil {
			return Credential{}, fmt.Errorf("credentials from file descriptor %d: %w", fd, err)
		}
		return c, nil
	}
}

// duplicate is dup(2). Programs that are started do not get the result.
func duplicate(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	own, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(own)
	}
	return own, err
}

// FromCommand runs a program that writes a credential to its standard output,
// in one of the forms of FromFD. On its standard input it reads the name of the
// registry, a line, as programs do that speak docker's credential helper
// protocol: "docker-credential-pass get" is such a command.
//
// The command is split into words as a shell does it, with quotes and
// backslashes, and nothing else of a shell: no variables, no pipes. The
// program has a minute and 64 KiB. Errors wrap ErrHelper, or the error of ctx,
// and hold nothing of its output.
func FromCommand(ctx context.Context, command, registry string) (Credential, error) {
	words, err := splitCommand(command)
	if err != nil {
		return Credential{}, err
	}
	p := (&Finder{}).program(ctx, words[0])
	p.args, p.json, p.mute = words[1:], false, true
	p.Input(strings.NewReader(registry + "\n"))
	out, err := p.Output()
	var c Credential
	if err == nil {
		c, err = parseSecret(out)
	}
	if err != nil {
		return Credential{}, fmt.Errorf("%w: command %s: %w", ErrHelper, strconv.Quote(filepath.Base(words[0])), err)
	}
	return c, nil
}

// parseSecret reads what a file descriptor or a command has. Errors hold
// nothing of it. A user name alone is refused: it may well be a password, and
// user names are shown.
func parseSecret(data []byte) (Credential, error) {
	s := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case s == "":
		return Credential{}, errors.New("there is nothing")
	case s[0] == '{':
		return parseAnswer(s)
	case strings.ContainsAny(s, "\n\r\x00"):
		return Credential{}, errors.New("more than one line")
	}
	user, password, ok := strings.Cut(s, ":")
	if !ok || user == "" {
		return Credential{}, errors.New("want USER:PASSWORD or a JSON object with Username and Secret")
	}
	return Credential{Username: user, Password: password}, nil
}

func parseAnswer(s string) (Credential, error) {
	var answer struct{ Username, Secret string }
	switch err := json.Unmarshal([]byte(s), &answer); {
	case err != nil: // which may quote the secret
		return Credential{}, errors.New("not a JSON object with Username and Secret")
	case answer.Secret == "":
		return Credential{}, errors.New("there is no Secret in the JSON object")
	case answer.Username == tokenUser:
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// splitCommand splits a command into words: parted by blanks, but for those in
// quotes and behind a backslash. Between single quotes all stands for itself,
// between double quotes a backslash quotes a backslash or a double quote.
func splitCommand(s string) ([]string, error) {
	var words []string
	for s = strings.TrimLeft(s, blanks); s != ""; s = strings.TrimLeft(s, blanks) {
		var word strings.Builder
		for s != "" && !strings.ContainsRune(blanks, rune(s[0])) {
			part, rest, err := cutPart(s)
			if err != nil {
				return nil, err
			}
			word.WriteString(part)
			s = rest
		}
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("credentials command: there is no program in it")
	}
	return words, nil
}

const blanks = " \t\n"

// cutPart takes the first part of a word off: what is between quotes, or one
// byte.
func cutPart(s string) (part, rest string, err error) {
	switch {
	case s[0] == '\\' && len(s) > 1:
		return s[1:2], s[2:], nil
	case s[0] != '\'' && s[0] != '"':
		return s[:1], s[1:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), s[i+1:], nil
		case s[0] == '"' && s[i] == '\\' && i+1 < len(s) && (s[i+1] == '\\' || s[i+1] == '"'):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("credentials command: a quote is not closed")
}
