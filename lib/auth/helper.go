package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"
)

const (
	// maxAnswer is the size, in bytes, of the longest helper output read.
	maxAnswer = 64 << 10
	// helperTimeout is how long a helper program may take, unless told.
	helperTimeout = time.Minute
	// helperGrace is how long a helper's children may hold its output open
	// after it ended.
	helperGrace = time.Second
	// tokenUser is the user name by which a helper says that the secret is an
	// identity token.
	tokenUser = "<token>"
)

var (
	// ErrHelper is wrapped by every error about a credential helper program
	// that could not be asked or did not answer.
	ErrHelper = errors.New("credential helper failed")
	// ErrHelperName is the error for a helper name that is no file name part.
	ErrHelperName = errors.New("invalid credential helper name")
)

// checkHelperName allows what may stand after "docker-credential-". A slash
// would make a path of it, run from the current directory.
func checkHelperName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("%w: letters, digits, '.', '_' and '-' are allowed", ErrHelperName)
	}
	return nil
}

// ask asks the helper program docker-credential-NAME for each of the servers
// until one is known. An answer of "not found" to all is the zero value.
func (f *Finder) ask(ctx context.Context, name string, servers []string) (Credential, error) {
	if err := checkHelperName(name); err != nil {
		return Credential{}, err
	}
	for _, server := range servers {
		c, err := f.askOne(ctx, "docker-credential-"+name, server)
		if err != nil || !c.IsZero() {
			return c, err
		}
	}
	return Credential{}, nil
}

// program is a run of the program of that name, which is to answer in JSON.
func (f *Finder) program(ctx context.Context, name string) *program {
	p := &program{ctx: ctx, name: name, limit: f.HelperTimeout, stderr: f.Stderr, json: true}
	if p.limit <= 0 {
		p.limit = helperTimeout
	}
	if p.stderr == nil {
		p.stderr = os.Stderr
	}
	return p
}

func (f *Finder) askOne(ctx context.Context, name, server string) (Credential, error) {
	p := f.program(ctx, name)
	answer, err := client.Get(p.with, server)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return Credential{}, nil
	case p.err != nil:
		return Credential{}, fmt.Errorf("%w: %s: %w", ErrHelper, name, p.err)
	case err != nil: // The client's text may quote the answer.
		return Credential{}, fmt.Errorf("%w: %s: the answer is not a credential", ErrHelper, name)
	case answer.Username == tokenUser:
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// tell has a helper program store a credential.
func (f *Finder) tell(ctx context.Context, name, server string, c Credential) error {
	if err := checkHelperName(name); err != nil {
		return err
	}
	entry := &credentials.Credentials{ServerURL: server, Username: c.Username, Secret: c.Password}
	if c.IdentityToken != "" {
		entry.Username, entry.Secret = tokenUser, c.IdentityToken
	}
	if !utf8.ValidString(entry.Username + entry.Secret) {
		return fmt.Errorf("%w: it is not UTF-8, which helper programs speak", ErrCredential)
	}
	p := f.program(ctx, "docker-credential-"+name)
	p.json, p.secret = false, entry.Secret
	return p.failed(client.Store(p.with, entry))
}

// erase has a helper program forget a credential. That there is none may be
// ErrNotStored, or no error.
func (f *Finder) erase(ctx context.Context, name, server string) error {
	if err := checkHelperName(name); err != nil {
		return err
	}
	p := f.program(ctx, "docker-credential-"+name)
	p.json = false
	err := client.Erase(p.with, server)
	if p.missing {
		return ErrNotStored
	}
	return p.failed(err)
}

// list returns the servers that a helper program has credentials of, with the
// user names.
func (f *Finder) list(ctx context.Context, name string) (map[string]string, error) {
	if err := checkHelperName(name); err != nil {
		return nil, err
	}
	p := f.program(ctx, "docker-credential-"+name)
	servers, err := client.List(p.with)
	return servers, p.failed(err)
}

// failed returns the error of a run, given what the client says, whose text
// may quote the output.
func (p *program) failed(err error) error {
	switch {
	case p.err != nil:
		return fmt.Errorf("%w: %s: %w", ErrHelper, p.name, p.err)
	case err != nil:
		return fmt.Errorf("%w: %s: the answer is not understood", ErrHelper, p.name)
	}
	return nil
}

// A program is one run of a helper program, bounded in time and in output. It
// is a client.Program, and keeps its own error: one that holds no secret.
type program struct {
	ctx    context.Context
	name   string
	limit  time.Duration
	stderr io.Writer
	json   bool   // the answer is JSON
	mute   bool   // the answer may be a secret that reads like a sentence
	secret string // what it is told, and must not be repeated
	args   []string
	stdin  io.Reader
	err    error

	missing bool // the helper says that it has no such credential
}

// with is the client.ProgramFunc.
func (p *program) with(args ...string) client.Program {
	p.args = args
	return p
}

// Input sets what the helper reads.
func (p *program) Input(in io.Reader) { p.stdin = in }

// Output runs the helper and returns what it wrote to its standard output.
func (p *program) Output() ([]byte, error) {
	out, err := p.run()
	p.err = err
	return out, err
}

func (p *program) run() ([]byte, error) {
	path, err := exec.LookPath(p.name)
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("no such program in $PATH")
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.limit)
	defer cancel()
	out := &bounded{max: maxAnswer, full: cancel}
	cmd := exec.CommandContext(ctx, path, p.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.stdin, out, p.stderr
	cmd.WaitDelay = helperGrace
	err = cmd.Run()
	switch {
	case out.over:
		return nil, fmt.Errorf("more than %d bytes of output", maxAnswer)
	case p.ctx.Err() != nil:
		return nil, p.ctx.Err()
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer within %v", p.limit)
	case errors.Is(err, exec.ErrWaitDelay):
		// The helper ended well, a child of it holds on to the pipe.
	case err != nil:
		p.missing = credentials.IsErrCredentialsNotFoundMessage(out.data.String())
		return out.data.Bytes(), p.failure(err, out.data.String())
	}
	var one json.RawMessage
	if p.json && json.Unmarshal(out.data.Bytes(), &one) != nil {
		return nil, errors.New("the answer is not a JSON object")
	}
	return out.data.Bytes(), nil
}

// failure describes a run that failed. Helpers write the reason to their
// standard output, where secrets go too: only what reads like one sentence
// and cannot be a part of an answer is repeated.
func (p *program) failure(err error, out string) error {
	reason := strings.TrimSpace(out)
	if p.mute || p.secret != "" && strings.Contains(reason, p.secret) {
		return err
	}
	if len(reason) > 200 || !strings.Contains(reason, " ") || strings.ContainsAny(reason, "{}\"\n") || !utf8.ValidString(reason) {
		return err
	}
	quoted := strconv.Quote(reason)
	return fmt.Errorf("%w: %s", err, quoted[1:len(quoted)-1])
}

// A bounded buffer takes max bytes and then calls full and refuses more.
type bounded struct {
	data bytes.Buffer
	max  int
	full func()
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.data.Len()+len(p) > b.max {
		b.over = true
		b.full()
		return 0, io.ErrShortBuffer
	}
	return b.data.Write(p)
}
