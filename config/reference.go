package config

import _ "embed"

// Reference is a configuration file that has every key of the format with its
// default value, its unit and its range.
//
//go:embed reference.yaml
var Reference []byte
