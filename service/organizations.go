package service

import (
	"context"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// organizations implements OrganizationService.
type organizations struct {
	tallydv1.UnimplementedOrganizationServiceServer

	tally Tally
}

func (o *organizations) ListOrganizationUsers(ctx context.Context, req *tallydv1.ListOrganizationUsersRequest) (*tallydv1.ListOrganizationUsersResponse, error) {
	return call[tallydv1.ListOrganizationUsersResponse](ctx, o.tally, req)
}

func (o *organizations) RemoveOrganizationUser(ctx context.Context, req *tallydv1.RemoveOrganizationUserRequest) (*tallydv1.RemoveOrganizationUserResponse, error) {
	return call[tallydv1.RemoveOrganizationUserResponse](ctx, o.tally, req)
}

func (o *organizations) ListInvites(ctx context.Context, req *tallydv1.ListInvitesRequest) (*tallydv1.ListInvitesResponse, error) {
	return call[tallydv1.ListInvitesResponse](ctx, o.tally, req)
}

func (o *organizations) CreateInvites(ctx context.Context, req *tallydv1.CreateInvitesRequest) (*tallydv1.CreateInvitesResponse, error) {
	return call[tallydv1.CreateInvitesResponse](ctx, o.tally, req)
}

func (o *organizations) CancelInvite(ctx context.Context, req *tallydv1.CancelInviteRequest) (*tallydv1.CancelInviteResponse, error) {
	return call[tallydv1.CancelInviteResponse](ctx, o.tally, req)
}
