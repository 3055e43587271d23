"""Recipes: named chains, one short YAML file each, with its source."""

from preceptor.recipes.reader import RecipeFile, build_chain_parts, read_recipe, recipe, recipe_names

__all__ = ["RecipeFile", "build_chain_parts", "read_recipe", "recipe", "recipe_names"]
