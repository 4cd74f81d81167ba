package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"syscall"
)

// Load reads and parses the file at path. It returns either a Config or at least
// one problem, also where the file cannot be read. Of a file that is too large it
// reads no more than is needed to detect that.
func Load(path string) (*Config, []Problem) {
	data, err := read(path)
	if err != nil {
		ps := problems{file: path}
		remedy := "a readable file"
		switch {
		case errors.Is(err, fs.ErrNotExist):
			remedy = "`swerve init` prints one for this machine"
		case errors.Is(err, fs.ErrPermission):
			remedy = "a file that " + thisUser() + " may read (chgrp, chmod 640)"
		}
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err // without the path, which the problem has already
		}
		ps.add(position{1, 1}, wholeFile, "cannot be read: "+err.Error(), remedy)
		return nil, ps.sorted()
	}
	return Parse(path, data)
}

// reader is the user who reads the file, in words. Whoever is told may be another one.
func thisUser() string {
	if u, err := user.Current(); err == nil {
		return "the user " + u.Username
	}
	return fmt.Sprintf("the user %d", os.Geteuid())
}

// Parse reads the content of a configuration file; file is its name in problems.
// It returns either a Config or at least one problem, all of them in the file's
// order.
func Parse(file string, data []byte) (*Config, []Problem) {
	ps := &problems{file: file}
	text, ok := decodeText(ps, data)
	if !ok {
		return nil, ps.sorted()
	}
	doc, ok := parseSyntax(ps, text)
	if !ok {
		return nil, ps.sorted()
	}
	d := newDecoder(ps, doc)
	c := d.config()
	if len(ps.list) > 0 {
		return nil, ps.sorted()
	}
	c.Source = data
	return c, nil
}

// read reads at most one byte more than a file may have. It opens the file without
// blocking, so that a pipe without a writer is an empty file and not a hang.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}
