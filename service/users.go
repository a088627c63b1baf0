package service

import (
	"context"
	"errors"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/apikey"
	"github.com/tallyd/tallyd/service/tally"
)

// users implements UserService.
type users struct {
	tallydv1.UnimplementedUserServiceServer

	tally Tally
}

func (u *users) GetCurrentUser(ctx context.Context, req *tallydv1.GetCurrentUserRequest) (*tallydv1.GetCurrentUserResponse, error) {
	return call[tallydv1.GetCurrentUserResponse](ctx, u.tally, req)
}

// CheckKey asks Tally whose key it is, with exactly one request. It returns apikey.ErrRejected when Tally refuses the key, and the
// *tally.Error of any other failure.
func CheckKey(ctx context.Context, t Tally, key apikey.Key) (apikey.Identity, error) {
	req := &tallydv1.GetCurrentUserRequest{}
	resp, err := fetch[tallydv1.GetCurrentUserResponse](ctx, t, req, tally.WithKey(key))
	var failure *tally.Error
	if errors.As(err, &failure) && failure.Kind == tally.KindKeyRejected {
		return apikey.Identity{}, errors.Join(apikey.ErrRejected, err)
	}
	if err != nil {
		return apikey.Identity{}, err
	}
	user := resp.GetUser()
	return apikey.Identity{
		UserID: user.GetId(), OrganizationID: user.GetOrganizationId(), Plan: user.GetSubscriptionPlan().String(),
	}, nil
}
