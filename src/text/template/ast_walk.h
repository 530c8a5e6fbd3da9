/*
 * ast_walk.h - visiting the children of a compiled template's nodes.
 *
 * A visitor is called with each child in turn and goes deeper itself; its false ends the visit and is returned.
 */
#ifndef IMP_TEXT_TEMPLATE_AST_WALK_H
#define IMP_TEXT_TEMPLATE_AST_WALK_H

#include "text/template/ast.h"

typedef bool AstVisitor(void *context, JinjaNode *child);

bool ast_each(const JinjaNodes *nodes, AstVisitor *visit, void *context);
/* A child that may be missing (NULL). */
bool ast_maybe(JinjaNode *node, AstVisitor *visit, void *context);
/* The children of an expression; none of a statement. */
bool ast_each_child(JinjaNode *node, AstVisitor *visit, void *context);
/* The children of any node, bodies included. */
bool ast_each_descendant(JinjaNode *node, AstVisitor *visit, void *context);

#endif
