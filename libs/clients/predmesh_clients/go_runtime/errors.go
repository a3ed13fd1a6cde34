package predmesh

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Violation is one thing that is wrong with a request.
type Violation struct {
	// Field is the path of the field, e.g. `instance.carrier` or `instances[3].distance_miles`.
	Field string
	// Description says what is wrong, with the nearest right value where one is near.
	Description string
}

// Error says why a call, or one row of a stream, was not answered.
type Error struct {
	// Code is what kind of trouble it is, e.g. codes.InvalidArgument, codes.Unavailable or codes.DeadlineExceeded.
	Code codes.Code
	// Message says what went wrong.
	Message string
	// Reason is its cause, a name of predmesh.errors.v1.ErrorReason; empty where the call did not reach the mesh.
	Reason string
	// Metadata holds the variables of the message.
	Metadata map[string]string
	// Violations says what is wrong with the request, where it is the request's fault.
	Violations []Violation
	// RetryAfter is when to come again, where the mesh says so.
	RetryAfter time.Duration
	// RequestID is the id of the request in the mesh's logs; empty where it is not known.
	RequestID string

	status *status.Status
}

// Error gives the code, the reason and the message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", strings.TrimSpace(e.Code.String()+" "+e.Reason), e.Message)
}

// GRPCStatus gives the whole status.
func (e *Error) GRPCStatus() *status.Status {
	return e.status
}

// RowError is the error of one row of a stream.
func RowError(code int32, message, reason string) *Error {
	kind := codes.Code(code)
	return &Error{Code: kind, Message: message, Reason: reason, status: status.New(kind, message)}
}

// CallError is the error that a call ended with; nil where it ended well.
func CallError(cause error) error {
	if cause == nil {
		return nil
	}
	known := status.Convert(cause)
	told := &Error{Code: known.Code(), Message: known.Message(), status: known}
	for _, detail := range known.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			told.Reason, told.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, each := range detail.GetFieldViolations() {
				told.Violations = append(told.Violations, Violation{each.GetField(), each.GetDescription()})
			}
		case *errdetails.RetryInfo:
			told.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.RequestInfo:
			told.RequestID = detail.GetRequestId()
		}
	}
	return told
}
