package predmesh

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

type choice struct {
	token    func(context.Context) (string, error)
	timeout  time.Duration
	attempts int
	dial     []grpc.DialOption
}

// Option is something that a caller may choose.
type Option func(*choice)

// WithToken sends a bearer token.
func WithToken(token string) Option {
	return WithTokenSource(func(context.Context) (string, error) { return token, nil })
}

// WithTokenSource asks for the bearer token anew for each call.
func WithTokenSource(source func(context.Context) (string, error)) Option {
	return func(chosen *choice) { chosen.token = source }
}

// WithTimeout is the time that a call may take, retries included, where its context has no deadline; 1 s by default.
func WithTimeout(timeout time.Duration) Option {
	return func(chosen *choice) { chosen.timeout = timeout }
}

// WithAttempts is how often a call is tried while the mesh is unavailable, 1 to 5; 3 by default.
func WithAttempts(attempts int) Option {
	return func(chosen *choice) { chosen.attempts = attempts }
}

// WithDialOptions adds options of gRPC, such as other transport credentials.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(chosen *choice) { chosen.dial = append(chosen.dial, options...) }
}

const streamTimeout = time.Minute

// Dial opens a channel to a service of the mesh; it connects when it is first used.
//
// The target is the gateway, `https://mesh.example` or `http://127.0.0.1:8080`.
func Dial(target, service string, options ...Option) (*grpc.ClientConn, error) {
	chosen := choice{timeout: time.Second, attempts: 3}
	for _, option := range options {
		option(&chosen)
	}
	address, transport, err := addressOf(target)
	if err != nil {
		return nil, err
	}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig(service, chosen.attempts)),
		grpc.WithUnaryInterceptor(chosen.unary),
		grpc.WithStreamInterceptor(chosen.stream),
	}, chosen.dial...)
	return grpc.NewClient(address, dial...)
}

func (c *choice) unary(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	ctx, cancel := within(ctx, c.timeout)
	defer cancel()
	ctx, err := c.authorised(ctx)
	if err != nil {
		return err
	}
	return CallError(invoke(ctx, method, request, answer, conn, options...))
}

func (c *choice) stream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	// The caller of a stream ends its context, and the deadline with it.
	ctx, cancel := within(ctx, streamTimeout)
	ctx, err := c.authorised(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	stream, err := open(ctx, desc, conn, method, options...)
	if err != nil {
		cancel()
		return nil, CallError(err)
	}
	context.AfterFunc(stream.Context(), cancel)
	return stream, nil
}

func (c *choice) authorised(ctx context.Context) (context.Context, error) {
	if c.token == nil {
		return ctx, nil
	}
	token, err := c.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("the token could not be had: %w", err)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

func within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, set := ctx.Deadline(); set {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func addressOf(target string) (string, credentials.TransportCredentials, error) {
	parsed, err := url.Parse(target)
	if err != nil || parsed.Host == "" || strings.Trim(parsed.Path, "/") != "" {
		return "", nil, fmt.Errorf("%q is no gateway: write https://HOST[:PORT], or http://HOST[:PORT] without TLS", target)
	}
	port := parsed.Port()
	switch {
	case parsed.Scheme == "https" && port == "":
		return parsed.Host + ":443", credentials.NewTLS(&tls.Config{}), nil
	case parsed.Scheme == "https":
		return parsed.Host, credentials.NewTLS(&tls.Config{}), nil
	case parsed.Scheme == "http" && port == "":
		return parsed.Host + ":80", insecure.NewCredentials(), nil
	case parsed.Scheme == "http":
		return parsed.Host, insecure.NewCredentials(), nil
	}
	return "", nil, fmt.Errorf("%q is no gateway: write https://HOST[:PORT], or http://HOST[:PORT] without TLS", target)
}

// Retries what is safe to retry, every method with one answer; retries stop while most calls fail.
func serviceConfig(service string, attempts int) string {
	if attempts <= 1 {
		return "{}"
	}
	return fmt.Sprintf(`{
  "methodConfig": [{
    "name": [
      {"service": %[1]q, "method": "Predict"},
      {"service": %[1]q, "method": "PredictBatch"},
      {"service": %[1]q, "method": "Explain"}
    ],
    "retryPolicy": {
      "maxAttempts": %[2]d,
      "initialBackoff": "0.05s",
      "maxBackoff": "1s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
}`, service, attempts)
}
