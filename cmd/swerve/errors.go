package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"swerve/control"
	"swerve/control/say"
)

// Exit codes of every subcommand.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2 // bad usage or configuration
	exitNoDaemon = 3
)

// errNoName refuses an empty name, which would mean all.
var errNoName = errors.New("the name of the uplink is empty")

// oneUplink is the arguments of a command that wants the name of one uplink.
func oneUplink(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one UPLINK, not %s", say.Several(len(args), "word", "words"))
	}
	return nil
}

// errNoPolicy refuses an empty name of a policy, which would mean all.
var errNoPolicy = errors.New("the name of the policy is empty")

// exitError gives an error its exit code, where report would choose another.
type exitError struct {
	code int
	err  error // nil: everything has been reported already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// silent ends the command with that exit code and without further output.
func silent(code int) error { return &exitError{code: code} }

// failure is an error in the form that every one has: action, object, cause and
// remedy.
func failure(action, object string, cause error, remedy string) error {
	return &control.Error{Action: action, Object: object, Cause: cause, Remedy: remedy}
}

// usageError reports a command line that is not valid.
func usageError(cmd *cobra.Command, err error) error {
	cause, guess, ok := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	if ok {
		cause += fmt.Sprintf(" (did you mean %s?)", strings.Join(strings.Fields(guess), " or "))
	}
	if before, _, ok := strings.Cut(cause, ": strconv."); ok { // Go's words for what is no number
		cause = before + ": not a number"
	}
	return &exitError{exitUsage, failure("run", cmd.CommandPath(), errors.New(cause),
		fmt.Sprintf("see `%s --help`", cmd.CommandPath()))}
}

// report prints err on stderr, unless that has been done, and returns its exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	var coded *exitError
	if !errors.As(err, &coded) || coded.err != nil {
		printError(stderr, err)
	}
	switch {
	case coded != nil:
		return coded.code
	case errors.Is(err, control.ErrNoDaemon):
		return exitNoDaemon
	case errors.Is(err, control.ErrRefused):
		return exitUsage
	}
	return exitFailed
}

// printError prints the problems that an error carries, one a line, and then the
// error as one line.
func printError(stderr io.Writer, err error) {
	var e *control.Error
	if errors.As(err, &e) {
		for _, p := range e.Problems {
			fmt.Fprintln(stderr, say.Clean(p))
		}
	}
	fmt.Fprintln(stderr, "swerve: "+say.OneLine(err.Error()))
}
