package service

import (
	"context"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// workspaces implements WorkspaceService.
type workspaces struct {
	tallydv1.UnimplementedWorkspaceServiceServer

	tally Tally
}

func (w *workspaces) ListWorkspaces(ctx context.Context, req *tallydv1.ListWorkspacesRequest) (*tallydv1.ListWorkspacesResponse, error) {
	return call[tallydv1.ListWorkspacesResponse](ctx, w.tally, req)
}

func (w *workspaces) CreateWorkspace(ctx context.Context, req *tallydv1.CreateWorkspaceRequest) (*tallydv1.CreateWorkspaceResponse, error) {
	return call[tallydv1.CreateWorkspaceResponse](ctx, w.tally, req)
}

func (w *workspaces) GetWorkspace(ctx context.Context, req *tallydv1.GetWorkspaceRequest) (*tallydv1.GetWorkspaceResponse, error) {
	return call[tallydv1.GetWorkspaceResponse](ctx, w.tally, req)
}

func (w *workspaces) UpdateWorkspace(ctx context.Context, req *tallydv1.UpdateWorkspaceRequest) (*tallydv1.UpdateWorkspaceResponse, error) {
	return call[tallydv1.UpdateWorkspaceResponse](ctx, w.tally, req)
}

func (w *workspaces) DeleteWorkspace(ctx context.Context, req *tallydv1.DeleteWorkspaceRequest) (*tallydv1.DeleteWorkspaceResponse, error) {
	return call[tallydv1.DeleteWorkspaceResponse](ctx, w.tally, req)
}

func (w *workspaces) ListFolders(ctx context.Context, req *tallydv1.ListFoldersRequest) (*tallydv1.ListFoldersResponse, error) {
	return call[tallydv1.ListFoldersResponse](ctx, w.tally, req)
}

func (w *workspaces) CreateFolder(ctx context.Context, req *tallydv1.CreateFolderRequest) (*tallydv1.CreateFolderResponse, error) {
	return call[tallydv1.CreateFolderResponse](ctx, w.tally, req)
}

func (w *workspaces) UpdateFolder(ctx context.Context, req *tallydv1.UpdateFolderRequest) (*tallydv1.UpdateFolderResponse, error) {
	return call[tallydv1.UpdateFolderResponse](ctx, w.tally, req)
}

func (w *workspaces) DeleteFolder(ctx context.Context, req *tallydv1.DeleteFolderRequest) (*tallydv1.DeleteFolderResponse, error) {
	return call[tallydv1.DeleteFolderResponse](ctx, w.tally, req)
}
