package service

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/tallyd/tallyd/service/tally"
)

// withFreshness returns a context in which answers are as fresh as the caller asks with cache-control. Directives that make no sense
// here are ignored, as HTTP has it; an age that is none counts as the strictest.
func withFreshness(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, keyCache)
	if len(values) == 0 {
		return ctx
	}
	age, asked := time.Duration(0), false
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		var wanted time.Duration
		switch name {
		case "no-cache", "no-store":
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err == nil {
				wanted = time.Duration(seconds) * time.Second
			}
		default:
			continue
		}
		if !asked || wanted < age {
			age, asked = wanted, true
		}
	}
	if !asked {
		return ctx
	}
	return tally.WithFreshness(ctx, age)
}
