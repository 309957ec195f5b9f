package libevent

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Error is what this package's functions return when they fail. What moves bytes returns
// io.EOF and the errno of a read or write, such as syscall.EAGAIN, without an Error around
// it; the errors of a reader, a writer or a context that was given come as they are. Compare
// with errors.Is, which sees through it.
type Error struct {
	// Op is the C function that failed, or that was not called because its
	// arguments were wrong.
	Op string
	// Err is the reason: a syscall.Errno, ErrClosed, ErrRunning, ErrBroken, or
	// another error of this package.
	Err error
}

// Error returns "libevent: ", the operation and the reason.
func (e *Error) Error() string { return "libevent: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns Err, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the reason is a timeout.
func (e *Error) Timeout() bool {
	t, ok := e.Err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// Temporary reports whether the reason is one that may pass, as EAGAIN does.
func (e *Error) Temporary() bool {
	t, ok := e.Err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// closedError is ErrClosed: a text of its own, and still os.ErrClosed.
type closedError struct{}

func (closedError) Error() string { return "use after Close" }
func (closedError) Unwrap() error { return os.ErrClosed }

var (
	// ErrClosed says that the object, or what it was made on, has been closed.
	// errors.Is(ErrClosed, os.ErrClosed) holds.
	ErrClosed error = closedError{}

	// ErrRunning says that a loop runs on the base: a second one cannot start,
	// and the base cannot be closed.
	ErrRunning = errors.New("the loop is running")

	// ErrBroken says that a callback has ended its goroutine inside the loop
	// (runtime.Goexit, which testing's FailNow also calls). Nothing can stop that or mend
	// the loop: the base refuses everything from then on, and its memory is kept. What
	// already waits for the callback then waits for ever: Event.Del of its event, and
	// methods that need the lock of its BufferEvent.
	ErrBroken = errors.New("a callback has called runtime.Goexit inside the loop")
)

// CallbackPanic is what Dispatch panics with after a callback has panicked: the panic is
// caught before it reaches C, the loop ends, and Dispatch panics in its place. The event
// that was being served stays registered, and the base can run again.
type CallbackPanic struct {
	// Value is what the callback panicked with.
	Value any
	// Stack is the callback's stack at that moment, as debug.Stack prints it.
	Stack []byte
}

// Error returns the panic's value, followed by the callback's stack.
func (p *CallbackPanic) Error() string {
	return fmt.Sprintf("libevent: panic in a callback: %v\n\n%s", p.Value, p.Stack)
}

// Unwrap returns Value if it is an error, else nil.
func (p *CallbackPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// opError makes the *Error of op. A nil or zero reason would hide a failure: it
// stands for a C function that failed and left errno alone.
func opError(op string, err error) *Error {
	if errno, ok := err.(syscall.Errno); err == nil || (ok && errno == 0) {
		err = syscall.EINVAL
	}
	return &Error{Op: op, Err: err}
}
