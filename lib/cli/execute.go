package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// Execute is the whole program but for the process around it: it parses args,
// serves --help, --version and --completion on standard output, calls Run and
// returns the exit code. What went wrong it says on std.Err, each message one line:
//
//	img-copy: message
//	img-copy: hint: what to type
//
// A failed write to std.Out is CodeOutput even if Run did not notice. A renderer
// that Run left open is closed. A panic of Run becomes an "internal error"; its
// stack is shown if the environment has IMG_DEBUG. Execute should be called once,
// because the table's values keep what they were set to.
func (t *Tool) Execute(ctx context.Context, std *IO, args []string) (code int) {
	run := std.named(t.Name)
	defer func() {
		if p := recover(); p != nil {
			run.closeRenderer()
			code = run.crash(p)
		}
	}()
	err := t.run(ctx, run, args)
	run.closeRenderer()
	return t.report(ctx, run, err)
}

func (t *Tool) run(ctx context.Context, run *IO, args []string) error {
	operands, err := t.parse(t.rows(standard()), args)
	var wish completionWish
	switch {
	case errors.Is(err, ErrHelp):
		t.Usage(run.Out)
		return nil
	case errors.Is(err, errVersion):
		_, err = io.WriteString(run.Out, versionLine(t.Name))
		return err
	case errors.As(err, &wish):
		return t.Completion(run.Out, wish.shell)
	case err != nil:
		return err
	}
	return t.Run(ctx, run, operands)
}

// report says what became of the work and returns the exit code. A signal weighs
// more than the errors that it brought about; a lost output more than any other.
func (t *Tool) report(ctx context.Context, run *IO, err error) int {
	outErr := run.Out.(*output).err()
	if err == nil && outErr == nil {
		return CodeOK
	}
	if s, ok := signalOf(ctx); ok {
		text := s.Error()
		if err != nil && !errors.Is(err, context.Canceled) {
			text += ": " + err.Error()
		}
		run.complain(text)
		return s.code()
	}
	if outErr != nil || errors.Is(err, ErrOutput) {
		if !errors.Is(err, ErrOutput) {
			err = outErr
		}
		run.complain(err.Error())
		return CodeOutput
	}
	run.complain(err.Error())
	if errors.Is(err, ErrUsage) {
		t.reportUsage(run, err)
		return CodeUsage
	}
	code, hint := CodeFailed, ""
	if t.Explain != nil {
		code, hint = t.Explain(err)
	}
	run.hint(hint)
	if code == CodeOK {
		code = CodeFailed
	}
	return code
}

func (t *Tool) reportUsage(run *IO, err error) {
	run.say("usage: " + t.synopsis())
	hint := t.Name + " --help lists the options"
	var u *usageError
	if errors.As(err, &u) && u.hint != "" {
		hint = u.hint
	}
	run.hint(hint)
}

// complain writes the line of an error.
func (std *IO) complain(text string) {
	if text = oneLine(text); text == "" {
		text = "failed"
	}
	std.talk(text)
}

func (std *IO) hint(text string) {
	if text = oneLine(text); text != "" {
		std.talk("hint: " + text)
	}
}

// crash reports a panic. It must be called by the function that recovered it.
func (std *IO) crash(p any) int {
	std.complain(fmt.Sprintf("internal error: %v", p))
	if os.Getenv("IMG_DEBUG") != "" {
		std.mu.Lock()
		defer std.mu.Unlock()
		std.Err.Write(debug.Stack())
	}
	return CodeFailed
}
