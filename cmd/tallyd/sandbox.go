package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// sandboxKey is the key that the pretend Tally accepts; it guards nothing.
const sandboxKey = "tly-sandbox"

type sandboxCmd struct {
	Serve  sandboxServeCmd  `cmd:"" default:"withargs" help:"Serve the pretend Tally."`
	Submit sandboxSubmitCmd `cmd:"" help:"Answer a form of a running pretend Tally as a respondent would."`
}
