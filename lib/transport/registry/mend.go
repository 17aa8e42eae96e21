package registry

import (
	"context"
	"errors"
	"net/http"
)

// steps are the sizes of chunks, in bytes, that are tried when a registry, or
// a proxy before it, does not take a request of more.
var steps = [...]int64{16 << 20, 4 << 20, 1 << 20, 512 << 10}

// maxResent is how often a blob may be sent, as far as it was sent at all,
// beside what Retry allows: a registry that takes a little more each time, and
// forgets it, would have it a thousand times.
const maxResent = 8

// mend decides what to do after a break. It returns nil when it is worth going
// on, and the reason why not otherwise.
func (u *upload) mend(ctx context.Context, err error) error {
	if u.breaks++; u.breaks > maxResumes+u.off>>20 || u.resent > u.far*int64(maxResent+min(u.d.retry.Times, maxResumes)) {
		return err
	}
	if errors.Is(err, errAgain) {
		if u.rounds++; u.rounds > maxRounds {
			return err
		}
		return nil
	}
	var answer *Error
	if errors.As(err, &answer) && !answer.passing() {
		return u.adapt(answer, err)
	}
	u.unsure = true
	u.tries++
	if err := u.d.retry.pause(ctx, u.tries, err); err != nil {
		return err
	}
	if u.tries >= 2 && u.left() > steps[0] {
		u.divide()
	}
	return nil
}

// divide goes on with chunks, or smaller ones, so that something of what is
// sent lasts: a proxy may cut off what is too large for it without a word. If
// that helps, it is done so with other blobs too.
func (u *upload) divide() {
	if n := u.step(); n > 0 {
		u.chunk, u.divided = n, true
	}
}

// adapt goes on in another way after an answer that asks for that, if it does.
func (u *upload) adapt(answer *Error, err error) error {
	switch {
	case answer.token: // it says nothing of the upload
		return err
	case answer.Status == http.StatusRequestEntityTooLarge && u.at != nil:
		return u.smaller(err)
	case answer.Code == "DIGEST_INVALID" || answer.Code == "SIZE_INVALID":
		return u.restart(err)
	case u.at != nil && outOfStep(answer):
		u.unsure = true
		if u.tries++; u.tries > u.d.retry.Times {
			return err
		}
		return nil
	case refusesPut(answer) && u.feed.canSeek() && !u.streams:
		u.d.patchOnly.Store(true)
		u.streams, u.unsure = true, true
		return nil
	}
	return err
}

// refusesPut reports whether an answer may mean that a blob cannot come with
// the PUT that closes its upload.
func refusesPut(e *Error) bool {
	if e.Method != http.MethodPut || e.Code != "" && e.Code != "UNSUPPORTED" {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return true
	}
	return false
}

// outOfStep reports whether the registry has another idea of the session, or
// has forgotten it.
func outOfStep(e *Error) bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusGone, http.StatusRequestedRangeNotSatisfiable:
		return true
	}
	return e.Code == "BLOB_UPLOAD_UNKNOWN" || e.Code == "BLOB_UPLOAD_INVALID" || e.Code == "RANGE_INVALID"
}

// smaller goes on with smaller chunks, if there are any, for all blobs.
func (u *upload) smaller(err error) error {
	n := u.step()
	if n == 0 {
		return err
	}
	u.chunk, u.unsure = n, true
	u.d.chunk.Store(n)
	return nil
}

// step returns the largest size of a chunk that is less than what was sent
// with one request, 0 if there is none, or nothing can be sent again.
func (u *upload) step() int64 {
	tried := u.left()
	if u.chunk > 0 && (tried < 0 || u.chunk < tried) {
		tried = u.chunk
	}
	for _, n := range steps {
		if (tried < 0 || n < tried) && (u.at == nil || n >= u.at.min) && u.feed.canSeek() {
			return n
		}
	}
	return 0
}

// restart begins anew, once, if the registry may have put parts together
// wrongly. Otherwise what it says about the content stands.
func (u *upload) restart(err error) error {
	if !u.resumed || u.restarted || !u.feed.canSeek() {
		return err
	}
	u.d.abandon(u.at, true)
	u.restarted, u.at, u.off, u.unsure = true, nil, 0, false
	return nil
}
